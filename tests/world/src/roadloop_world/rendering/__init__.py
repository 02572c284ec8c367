"""Scenes, drawn as a camera would take them, with exact truth: the same pictures for the same seed.

Imports no other package of the world. Used by the fleet, by demo and bench, and by whoever trains a sample detector.
"""

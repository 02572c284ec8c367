"""Everybody outside who has to do with the loop: vehicles, annotators, a downstream team, and the admin of a tenant.

Imports what is rendered, and the vehicles' agent. Used by demo, bench and tests.
"""

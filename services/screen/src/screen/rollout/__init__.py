"""Bring a released version up beside the serving one, try it on live frames, and say that it serves.

Run as `python -m screen.rollout`; it alone writes the model repository.
"""

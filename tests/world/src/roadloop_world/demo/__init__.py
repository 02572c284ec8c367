"""The main job as somebody sees it: one round of the loop, followed from outside, with a page to look at.

Imports actors and rendering. Run by `python -m roadloop_world.demo`.
"""

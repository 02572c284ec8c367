"""Programs are started, watched and ended: supervisord, its files, and what is left of a stack that died.

Imports a stack's layout and servers. Run by `stack` and `health`; `parent_death` runs in front of every program.
"""

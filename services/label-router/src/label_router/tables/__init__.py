"""Label-router's tables: each module reads and writes one, within the caller's transaction where there is one.

May import what is pure beside it; handlers and HTTP call it.
"""

"""What screening remembers of one partition: as state, as entries of its topic, and as snapshots.

Decisions read it and leave it changed; the worker rebuilds it at a take-over.
"""

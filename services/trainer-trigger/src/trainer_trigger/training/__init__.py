"""Make a candidate: its data set, the trainer as a child process, and the release that a passed gate becomes.

The runner calls it; it knows the tables alone.
"""

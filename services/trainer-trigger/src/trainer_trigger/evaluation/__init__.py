"""Measure a candidate beside what serves, on the same fixed frames, and decide whether it may go live.

The runner calls it after a training or an offer; `gate.py` is pure.
"""

"""Whether faults change a single verdict: the same units in calm, and while things go wrong."""

"""Runs in Triton: these files are copied beside the weights and import each other by name."""

"""Try a detector on pictures before it is released: what it is, what it says, what looks wrong about it.

`roadloop models add` runs it.
"""

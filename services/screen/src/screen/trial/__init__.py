"""Try a detector on pictures before it is released, as it will be served, and say what is wrong with it."""

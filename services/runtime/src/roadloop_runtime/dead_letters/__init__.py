"""Dead letters as values, and how they are found, described and replayed. The commands of the same name use it."""

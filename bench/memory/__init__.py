"""How soon a worker knows again what its partitions remember."""

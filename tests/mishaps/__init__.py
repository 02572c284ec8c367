"""What operators and hardware do to a running cluster, on real servers: it is refused or told, never silently lost."""

"""The real consume loop on a simulated broker, with virtual time and faults drawn from a seed."""

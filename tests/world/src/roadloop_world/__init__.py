"""A simulated world that demo, bench and tests share: scenes, a fleet, a crowd of annotators, and who looks on."""

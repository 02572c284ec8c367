"""The compacted topics that every worker follows without a group: policies, and the models that serve."""

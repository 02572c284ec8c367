"""Every verdict once in Iceberg tables, and snapshots of memory beside them. Run as `python -m screen.history`."""

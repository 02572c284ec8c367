"""Take uploads, check them, announce their frames, and know what became of each. Run as `python -m ingest`."""

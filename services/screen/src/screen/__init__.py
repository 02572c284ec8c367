"""Screening: keep the tenth of all frames that teaches the model something. Run as `python -m screen`."""

"""Fit the score to what people find in the frames of the audit. Run as `python -m screen.learn`."""

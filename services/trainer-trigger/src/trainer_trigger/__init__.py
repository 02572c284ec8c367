"""Train as soon as there are enough new labels, measure, and let only better models through.

Run as `python -m trainer_trigger`.
"""

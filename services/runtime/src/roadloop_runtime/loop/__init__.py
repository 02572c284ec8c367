"""The consume loop: one task per partition observes, decides and settles.

It knows the broker by its protocols alone; `service` runs it.
"""

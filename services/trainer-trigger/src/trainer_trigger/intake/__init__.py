"""What researchers hand in: specs and offers, checked against what is there before they are stored.

HTTP and the commands call it.
"""

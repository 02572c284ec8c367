"""Ask the models about pictures: fetched ahead, in shared requests.

Every failure is either the picture's fault or `Transient`; the worker's observe uses it.
"""

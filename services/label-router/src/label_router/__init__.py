"""Make tasks of kept frames, lease them to annotators, and keep their labels. Run as `python -m label_router`."""

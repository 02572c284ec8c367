"""What makes a process a service: settings, logs, health, HTTP problems, an orderly end.

May import everything else here; each `__main__.py` starts with it.
"""

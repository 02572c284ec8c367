"""What makes a process a service: settings, logs, health, HTTP problems, an orderly end. Each `__main__.py` starts here."""

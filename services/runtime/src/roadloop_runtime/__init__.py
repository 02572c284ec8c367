"""The consume loop and the run-time code that all services share."""

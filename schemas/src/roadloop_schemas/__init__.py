"""Event shapes and topics: all that the services share about each other."""

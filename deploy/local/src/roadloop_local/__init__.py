"""The local stack: real servers, as ordinary processes, without root."""

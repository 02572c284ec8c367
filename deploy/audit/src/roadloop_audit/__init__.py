"""An outside reader of a live system: plain clients, plain SQL, nothing of the services' own code."""

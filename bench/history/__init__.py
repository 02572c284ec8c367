"""How long last week takes under another policy."""

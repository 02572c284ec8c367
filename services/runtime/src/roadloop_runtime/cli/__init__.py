"""The root of the command `roadloop`, and what every command shares at a terminal: options, tables, one-line errors."""

"""The same job in Roadloop's loop and in other people's, each written as its own documentation advises."""

"""How soon the whole stack works again after a fault, and what it holds while it cannot."""

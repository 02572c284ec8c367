"""Forward-only migrations of this service's schema."""

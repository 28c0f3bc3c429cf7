"""A client from its upgrade to its end."""

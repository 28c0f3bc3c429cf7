"""Everything Redis: the client, the embedded server, the names of keys, and what is kept in them."""

"""Everything Redis: the client, the embedded server, the names of keys, what is kept in them."""

"""One client's connection, and all of them in this process."""

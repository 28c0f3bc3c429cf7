"""The topics of one node: who is in them, and the path of an event from Redis to its receivers."""

"""A Redis, whatever its kind, and nothing of Jackfield."""

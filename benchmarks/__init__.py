"""Jackfield measured side by side with other servers; see README.md."""

"""The servers that Jackfield is measured against, each a module to run."""

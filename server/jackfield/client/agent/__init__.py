"""The agent SDK: a process that serves tasks."""

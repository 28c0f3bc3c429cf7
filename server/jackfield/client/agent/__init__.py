"""The agent SDK: serve the skills of an agent from a process of your own."""

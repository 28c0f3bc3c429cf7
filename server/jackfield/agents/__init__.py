"""Agents: processes that serve tasks over the same socket as everyone else."""

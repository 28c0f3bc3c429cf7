"""An agent for Jackfield that works on text and needs no model."""

from .agent import create_agent

__all__ = ["create_agent"]

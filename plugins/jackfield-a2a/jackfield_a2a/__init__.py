"""A gateway that exposes the agents of Jackfield by the A2A protocol (https://a2a-protocol.org)."""

from .app import create_app

__all__ = ["create_app"]

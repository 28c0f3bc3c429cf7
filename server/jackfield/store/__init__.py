"""Typed functions on Redis: the only place that knows keys and scripts."""

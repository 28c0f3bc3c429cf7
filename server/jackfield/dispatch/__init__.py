"""One message: look up, permit, limit, validate, call, answer."""

"""marshmallow schemas compiled and described, and the JSON Schemas of strangers."""

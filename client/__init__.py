"""The JavaScript client: the server hands the modules in src to its pages as they are."""

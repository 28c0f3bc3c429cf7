"""Everything that is served over HTTP beside the socket."""

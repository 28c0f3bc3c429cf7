"""The parts of a declaration, without what runs them."""

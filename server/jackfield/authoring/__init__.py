"""What a plugin's code is called with."""

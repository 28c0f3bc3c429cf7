"""What a plugin's author declares."""

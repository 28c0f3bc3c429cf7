"""What a plugin's code is handed."""

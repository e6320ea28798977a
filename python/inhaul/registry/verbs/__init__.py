"""What is done to artifacts: save, replace, read, relocate, delete."""

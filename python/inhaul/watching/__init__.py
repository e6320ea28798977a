"""Watching a folder: files that arrive in it are ingested when they are complete."""

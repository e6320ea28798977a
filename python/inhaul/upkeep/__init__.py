"""Verifies and repairs stored objects, and collects garbage."""

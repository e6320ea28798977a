"""The verbs of artifacts: save, replace, read, relocate, delete."""

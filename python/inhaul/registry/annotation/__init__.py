"""Annotating artifacts with feature values and labels."""

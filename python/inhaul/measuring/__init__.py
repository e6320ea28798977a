"""Measures how fast an ingest will be: each step on a sample of the files, with the parts that an ingest uses."""

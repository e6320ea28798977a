"""Objects in a bucket of Google Cloud Storage, or of a server like it."""

"""File formats: loading, writing, and access without loading."""

"""Which run made what from what."""

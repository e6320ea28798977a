"""The bytes of one artifact: what they are, and how they are stored, fetched, replaced and removed."""

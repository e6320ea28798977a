"""The bytes of one artifact: reading, storing, fetching, replacing and removing them."""

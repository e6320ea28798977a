"""Files on web servers, which are only read."""

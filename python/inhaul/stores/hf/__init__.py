"""Files in repositories on the Hugging Face Hub, which are only read."""

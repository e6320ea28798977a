"""Whether what is stored is what is registered: verify, repair, collect garbage."""

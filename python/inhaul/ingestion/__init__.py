"""How data comes in: scan, plan, store, record."""

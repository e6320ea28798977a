"""The ingestion of files and objects: scan, plan, store, record."""

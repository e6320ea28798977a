"""Async, high-throughput ingestion of files into a governed artifact store."""

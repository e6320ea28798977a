"""Storages: local folders and S3."""

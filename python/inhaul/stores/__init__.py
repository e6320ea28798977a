"""Storages: local folders and buckets."""

"""The records that datasets refer to: users, storages, runs, features and labels."""

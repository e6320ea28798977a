"""The command line. Each module adds its commands to the application."""

from inhaul.cli import artifacts, hashing, ingesting, measuring, storages, upkeep, watching
from inhaul.cli.common import app

__all__ = ("app", "artifacts", "hashing", "ingesting", "measuring", "storages", "upkeep", "watching")

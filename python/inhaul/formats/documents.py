"""Text, JSON and YAML files."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path, **options: Any) -> Any:
    """Reads a JSON file, in UTF-8, UTF-16 or UTF-32, with a byte order mark or without."""
    return json.loads(path.read_bytes(), **options)


def read_yaml(path: Path) -> Any:
    """Reads a YAML file of plain values; it never runs code."""
    import yaml

    with path.open("rb") as file:
        return yaml.safe_load(file)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Reads a text."""
    return path.read_text(encoding=encoding)

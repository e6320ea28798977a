"""Import of libraries that only some formats need."""

from importlib import import_module
from typing import Any

from inhaul.errors import MissingLibrary


def library(name: str, extra: str) -> Any:
    """Imports an optional library.

    Args:
        name: The module.
        extra: The extra of inhaul that installs it.

    Raises:
        MissingLibrary: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibrary(f'This needs {name}: pip install "inhaul[{extra}]"', name=name) from error

"""Open files and folders of the system."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Closes a descriptor at the end of a block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)

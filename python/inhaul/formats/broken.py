"""Errors of reading damaged content."""

from collections.abc import Iterator
from contextlib import contextmanager

from inhaul.errors import InhaulError, NotEnoughMemory


@contextmanager
def told_as(what: str, *, options: bool = False) -> Iterator[None]:
    """Turns the errors that libraries raise for damaged content into a `ValueError`.

    Errors of the system, the storage or the caller stay as they are.

    Args:
        what: The start of the message: what cannot be read, and as which type.
        options: Whether the caller gave options, which the reader may not know.

    Raises:
        ValueError: The content is damaged.
        NotEnoughMemory: The content needs more memory than there is, or claims so because it is damaged.
    """
    try:
        yield
    except MemoryError as error:
        raise NotEnoughMemory(f"{what}: there is not enough memory ({error})") from error
    except Exception as error:
        # An OSError of the system has a number; those of HDF5 and pillow have none.
        is_the_systems = isinstance(error, OSError) and error.errno is not None
        is_the_callers = isinstance(error, TypeError) and options
        if is_the_systems or is_the_callers or isinstance(error, ImportError | InhaulError | Warning):
            raise
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        raise ValueError(f"{what}: {error}{notes}") from error

"""Content that is not what its name says."""

from collections.abc import Iterator
from contextlib import contextmanager

from inhaul.errors import InhaulError, NotEnoughMemory


@contextmanager
def told_as(what: str, *, options: bool = False) -> Iterator[None]:
    """Turns whatever a library makes of broken content, for which each has errors of its own, into one that says so.

    What the system, the storage or the caller is to blame for stays as it is.

    Args:
        what: What cannot be read as what.
        options: Whether the caller gave options, which the reader may not know.

    Raises:
        ValueError: The content is broken.
        NotEnoughMemory: It would take more memory than there is, or says so because it is broken.
    """
    try:
        yield
    except MemoryError as error:
        raise NotEnoughMemory(f"{what}: there is not enough memory ({error})") from error
    except Exception as error:
        # Of OSErrors those of the system have a number; those of HDF5 and pillow have none.
        is_the_systems = isinstance(error, OSError) and error.errno is not None
        is_the_callers = isinstance(error, TypeError) and options
        if is_the_systems or is_the_callers or isinstance(error, ImportError | InhaulError | Warning):
            raise
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        raise ValueError(f"{what}: {error}{notes}") from error

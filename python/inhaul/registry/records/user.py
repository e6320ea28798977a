"""Users."""

from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field
from inhaul.registry.queries.registry import Registry
from inhaul.texts import check_name


class User(Registry, TracksUpdates):
    """A person or program that creates records. The current user has the handle `settings.user`.

    Args:
        handle: A unique name.

    Raises:
        TypeError: The handle is not a text.
        InvalidText: The handle is empty, has more than 2,500 bytes in UTF-8, or holds a character that no database can
            store.
    """

    _handle: str
    _naming = "handle"
    _known_by = "handle"

    handle = Field[str](writable=True, check=check_name)

    def __init__(self, handle: str) -> None:
        check_name("handle", handle)
        self._handle = handle

    def __repr__(self) -> str:
        return f"User(handle={self._handle!r})"

"""Which texts the registry and paths can hold."""

from inhaul.errors import InvalidText


def is_storable(text: str) -> bool:
    """Whether every database can hold a text: it has no NUL character and no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_text(name: str, value: object) -> None:
    """Refuses what is neither None nor a text that every database can hold.

    Raises:
        TypeError: It is no text.
        InvalidText: It holds a NUL character or half of a surrogate pair.
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: pass a text")
    if not is_storable(value):
        what = "a NUL character" if "\0" in value else "half of a surrogate pair"
        raise InvalidText(f"{name}={value!r}: it holds {what}, which no database can store: leave it out")


def check_name(name: str, value: object) -> None:
    """Refuses what is no text that every database can hold, or an empty one.

    Raises:
        TypeError: It is no text.
        InvalidText: It is empty, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: pass a text")
    if not value:
        raise InvalidText(f"{name}={value!r}: it cannot be empty")
    check_text(name, value)


def check_path_text(value: str) -> None:
    """Refuses what cannot be a path.

    Raises:
        InvalidText: It is empty, or holds a NUL character.
    """
    if not value:
        raise InvalidText("The path is empty: pass '.' for the current folder")
    if "\0" in value:
        raise InvalidText(f"{value!r}: a path cannot hold a NUL character")

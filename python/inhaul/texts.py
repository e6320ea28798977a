"""Checks for texts that the registry and paths can hold."""

from inhaul.errors import InvalidText

MOST_BYTES = 2_500
"""The most bytes of a text in an index: PostgreSQL cannot hold more."""

_SHOWN = 200  # characters of a value in an error


def shown(value: object) -> str:
    """Returns the repr of a value for an error, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def is_storable(text: str) -> bool:
    """Returns True if every database can hold a text: it has no NUL character and no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_text(name: str, value: object, *, optional: bool = True) -> None:
    """Checks that a value is a text that every database can hold, or None where that is allowed.

    Raises:
        TypeError: It is not a text.
        InvalidText: It holds a NUL character or half of a surrogate pair.
    """
    if value is None and optional:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)}: pass a text")
    if not is_storable(value):
        what = "a NUL character" if "\0" in value else "half of a surrogate pair"
        raise InvalidText(f"{name}={shown(value)}: it holds {what}, which no database can store: leave it out")


def check_name(name: str, value: object) -> None:
    """Checks that a value is a text that every database can hold, and not empty.

    Raises:
        TypeError: It is not a text.
        InvalidText: It is empty or too long, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)}: pass a text")
    if not value:
        raise InvalidText(f"{name}={value!r}: it cannot be empty")
    check_text(name, value)
    if (size := len(value.encode())) > MOST_BYTES:
        raise InvalidText(f"{name}={shown(value)}: it has {size:,} bytes, and the most is {MOST_BYTES:,}: shorten it")


def check_path_text(value: str) -> None:
    """Checks that a text can be a path.

    Raises:
        InvalidText: It is empty, or holds a NUL character.
    """
    if not value:
        raise InvalidText("The path is empty: pass '.' for the current folder")
    if "\0" in value:
        raise InvalidText(f"{shown(value)}: a path cannot hold a NUL character")

"""Checks of what users pass, at the call: what is wrong is said there, and nothing has happened yet."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from inhaul.errors import InvalidKey
from inhaul.keys import key_problem
from inhaul.stores.locations import as_text, is_pathish
from inhaul.texts import check_path_text, shown

OLDEST = timedelta(days=36_500)
"""The greatest age that calls take: dates end somewhere."""


def check_time(name: str, value: object) -> None:
    """Refuses what is neither None nor a time that says in which zone it is.

    Raises:
        TypeError: It is no datetime.
        ValueError: It has no time zone.
    """
    if value is None:
        return
    if not isinstance(value, datetime):
        raise TypeError(f"{name}={value!r}: pass a datetime")
    if value.utcoffset() is None:
        raise ValueError(f"{name}={value!r} has no time zone: pass an aware datetime, such as datetime.now(UTC)")


def check_age(name: str, value: object, *, optional: bool = False) -> None:
    """Refuses what is no length of time that ends before now.

    Raises:
        TypeError: It is no timedelta, nor None if that means something.
        ValueError: It is negative, or longer than the calendar.
    """
    if value is None and optional:
        return
    if not isinstance(value, timedelta):
        raise TypeError(f"{name}={value!r}: pass a timedelta, such as timedelta(days=1)")
    if not timedelta(0) <= value <= OLDEST:
        raise ValueError(f"{name}={value!r}: pass 0 to {OLDEST.days} days")


def check_key(value: object, name: str = "key") -> None:
    """Refuses what is neither None nor a valid key.

    Raises:
        TypeError: It is no text.
        InvalidKey: It is not valid.
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: pass a text")
    if problem := key_problem(value):
        raise InvalidKey(f"{shown(value)} cannot be a key: {problem}")


def check_flag(name: str, value: object, *, optional: bool = False) -> None:
    """Refuses what is neither True nor False, nor None if that means something.

    Raises:
        TypeError: It is none of these.
    """
    if not isinstance(value, bool) and not (optional and value is None):
        raise TypeError(f"{name}={value!r}: pass {'True, False or None' if optional else 'True or False'}")


def check_follow(value: object) -> None:
    """Refuses what says nothing of which links are followed.

    Raises:
        TypeError: It is neither True, False nor `"anywhere"`.
    """
    if not isinstance(value, bool) and value != "anywhere":
        raise TypeError(f"follow_symlinks={value!r}: pass True, False or 'anywhere'")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuses what is none of the texts that an option knows.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name}={shown(value)}: use {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}")


def check_path(value: object) -> None:
    """Refuses what is no path.

    Raises:
        TypeError: It is no text and no path-like object, or one of bytes.
        InvalidText: It is empty or holds a NUL character.
    """
    path = as_text(value) if is_pathish(value) else None
    if not isinstance(path, str):
        raise TypeError(f"{value!r} is no path: pass a text, a pathlib.Path or a UPath")
    check_path_text(path)

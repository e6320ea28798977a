"""Checks of arguments at the call, so that wrong ones are refused before anything happens."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from inhaul.errors import InvalidKey
from inhaul.keys import key_problem
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text
from inhaul.texts import check_path_text, shown

OLDEST = timedelta(days=36_500)
"""The greatest age that calls accept, so that date arithmetic cannot overflow."""


def check_time(name: str, value: object) -> None:
    """Checks that a value is None or a time with a time zone.

    Raises:
        TypeError: It is not a datetime.
        ValueError: It has no time zone.
    """
    if value is None:
        return
    if not isinstance(value, datetime):
        raise TypeError(f"{name}={value!r}: pass a datetime")
    if value.utcoffset() is None:
        raise ValueError(f"{name}={value!r} has no time zone: pass an aware datetime, such as datetime.now(UTC)")


def check_age(name: str, value: object, *, optional: bool = False) -> None:
    """Checks that a value is a valid age.

    Raises:
        TypeError: It is not a timedelta, nor None where that is allowed.
        ValueError: It is negative, or longer than the calendar.
    """
    if value is None and optional:
        return
    if not isinstance(value, timedelta):
        raise TypeError(f"{name}={value!r}: pass a timedelta, such as timedelta(days=1)")
    if not timedelta(0) <= value <= OLDEST:
        raise ValueError(f"{name}={value!r}: pass 0 to {OLDEST.days} days")


def check_key(value: object, name: str = "key") -> None:
    """Checks that a value is None or a valid key.

    Raises:
        TypeError: It is not a text.
        InvalidKey: It is not valid.
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: pass a text")
    if problem := key_problem(value):
        raise InvalidKey(f"{shown(value)} cannot be a key: {problem}")


def check_flag(name: str, value: object, *, optional: bool = False) -> None:
    """Checks that a value is True or False, or None where that is allowed.

    Raises:
        TypeError: It is none of these.
    """
    if not isinstance(value, bool) and not (optional and value is None):
        raise TypeError(f"{name}={value!r}: pass {'True, False or None' if optional else 'True or False'}")


def check_follow(value: object) -> None:
    """Checks a value of `follow_symlinks`.

    Raises:
        TypeError: It is neither True, False nor `"anywhere"`.
    """
    if not isinstance(value, bool) and not (isinstance(value, str) and value == "anywhere"):
        raise TypeError(f"follow_symlinks={value!r}: pass True, False or 'anywhere'")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Checks that a value is one of the texts that an option accepts.

    Raises:
        ValueError: It is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}={shown(value)}: use {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}")


def check_list(name: str, value: object, of: str) -> None:
    """Checks that a value can be iterated, and is not one text.

    Raises:
        TypeError: It is a text, or cannot be iterated.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name}={shown(value)}: pass a list of {of}")


def check_path(value: object) -> None:
    """Checks that a value is a path.

    Raises:
        TypeError: It is neither a text nor a path-like object, or its path is bytes.
        InvalidText: It is empty or holds a NUL character.
    """
    path = as_text(value) if is_pathish(value) else None
    if not isinstance(path, str):
        raise TypeError(f"{value!r} is not a path: pass a text, a pathlib.Path or a UPath")
    check_path_text(path)

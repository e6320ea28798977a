"""Parameters of runs in the form that JSON has for them, so that they come back as they are shown."""

import json
import os
import reprlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from inhaul.registry import dtypes

_LONGEST = 10_000  # characters of an argument of a function that is recorded as it is


def as_params(name: str, value: Any) -> dict[str, Any] | None:
    """Parameters that a user gives, as they are recorded: `None`, or a dict.

    Scalars of numpy are recorded as the numbers they are; paths, times, members of enumerations, functions and records
    as texts.

    Raises:
        TypeError: It is no dict, a key in it is no text, or something in it has no such form.
        ValueError: It holds a number that JSON has no form for, or half of a surrogate pair, or itself.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}={value!r}: pass a dict")
    try:
        recorded: dict[str, Any] = _through_json(value, _refuse)
    except RecursionError as error:
        raise ValueError(f"{name} cannot be JSON: it holds itself") from error
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError  # that of a surrogate takes other arguments
        raise kind(f"{name}={value!r} cannot be JSON: {error}") from error
    return recorded


def recorded(argument: object) -> Any:
    """An argument of a function, as `as_params` has it, else in short as a text: whatever it is, the call goes on."""
    with suppress(Exception):
        return _through_json(argument, _named, _LONGEST)
    with suppress(Exception):
        return reprlib.repr(argument).encode(errors="backslashreplace").decode()
    return f"<{type(argument).__name__}>"


def _through_json(value: object, other: Callable[[object], Any], longest: float = float("inf")) -> Any:
    text = json.dumps(_plain(value, other), ensure_ascii=False, allow_nan=False)
    if len(text.encode()) > longest:
        raise ValueError(f"its text has more than {longest} characters")
    return json.loads(text)


def _plain(value: Any, other: Callable[[object], Any]) -> Any:
    """What JSON has a form for; `other` says what stands for anything else."""
    value = dtypes.plain(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {odd[0]!r} is no text, and would come back as one")
        return {str(key): _plain(one, other) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, other) for one in value]
    if isinstance(value, os.PathLike | Enum) or hasattr(value, "isoformat") or hasattr(value, "_world"):
        return str(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return other(value)


def _refuse(value: object) -> Any:
    raise TypeError(f"there is no form for {value!r}: pass a text or a number instead")


def _named(value: object) -> str:
    return f"<{type(value).__name__}>"

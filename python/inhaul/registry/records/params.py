"""Parameters of runs in the form that JSON has for them, so that they come back as they are shown."""

import json
import math
import os
import reprlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from inhaul.errors import InvalidText
from inhaul.registry.model import dtypes

_LONGEST = 10_000  # characters of an argument of a function that is recorded as it is


def as_params(name: str, value: Any) -> dict[str, Any] | None:
    """Parameters that a user gives, as they are recorded: `None`, or a dict.

    Scalars of numpy are recorded as the numbers they are; paths, times, members of enumerations, functions, records and
    the floats that JSON has no form for (`nan`, `inf` and `-inf`) as texts.

    Raises:
        TypeError: It is no dict, a key in it is no text, or something in it has no such form.
        ValueError: It holds itself.
        InvalidText: It holds half of a surrogate pair.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}={reprlib.repr(value)}: pass a dict")
    recorded: dict[str, Any] = {}
    for key, one in value.items():
        recorded |= _as_param(f"{name}[{key!r}]", {key: one})
    return recorded


def _as_param(name: str, param: Mapping[Any, Any]) -> dict[str, Any]:
    """One parameter. Its repr may raise, so errors show it as `reprlib` does."""
    (value,) = param.values()
    shown = f"{name}={reprlib.repr(value)} cannot be JSON"
    try:
        recorded: dict[str, Any] = _through_json(param, _refuse)
    except RecursionError as error:
        raise ValueError(f"{shown}: it holds itself") from error
    except UnicodeEncodeError as error:
        raise InvalidText(f"{shown}: it holds half of a surrogate pair, which UTF-8 has not: leave it out") from error
    except (TypeError, ValueError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{shown}: {error}") from error
    except Exception as error:
        raise TypeError(f"{shown}: reading it raises {type(error).__name__}") from error
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
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {reprlib.repr(key)} is no text, and would come back as one")
        return {str(key): _plain(one, other) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, other) for one in value]
    if isinstance(value, os.PathLike | Enum) or hasattr(value, "isoformat") or hasattr(value, "_world"):
        return str(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return other(value)


def _refuse(value: object) -> Any:
    raise TypeError(f"there is no form for {reprlib.repr(value)}: pass a text or a number instead")


def _named(value: object) -> str:
    return f"<{type(value).__name__}>"

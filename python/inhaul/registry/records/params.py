"""Parameters of runs, converted to JSON values when they are set."""

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
    """Returns the parameters that a user gives as they are recorded: `None` or a dict.

    Scalars of numpy are recorded as numbers; paths, times, members of enumerations, functions, records and
    floats that JSON cannot represent (`nan`, `inf` and `-inf`) as texts.

    Raises:
        TypeError: The value is not a dict, a key in it is not a text, or an item cannot be represented in JSON.
        ValueError: It contains itself.
        InvalidText: It contains half of a surrogate pair.
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
    """Returns one recorded parameter. Its repr may raise, so errors use `reprlib`."""
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
    """Returns an argument of a function as `as_params` records it, else as a short text. Never raises."""
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
    """Converts a value to types that JSON has; `other` converts anything else."""
    value = dtypes.plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {reprlib.repr(key)} is not a text, and would come back as one")
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

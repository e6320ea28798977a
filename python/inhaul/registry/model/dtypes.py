"""The dtypes of features, and the text form of their values in the registry."""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any, NamedTuple

from inhaul.formats.measured import UNKNOWN, WHOLE
from inhaul.texts import MOST_BYTES, is_storable

LABELS = "cat[ULabel]"
"""The dtype of features whose values are labels."""


def is_int64(value: int) -> bool:
    """True if a whole number has at most 64 bits, as databases require."""
    return -(2**63) <= value < 2**63


class Value(NamedTuple):
    """A value as stored in the registry: exact as text, and also as a number if it is one."""

    text: str
    number: float | None


def _int(value: Any) -> Value | None:
    if isinstance(value, bool) or not isinstance(value, int) or not is_int64(value):
        return None
    return Value(str(int(value)), float(value))  # stores a member of an enumeration as its number


def _whole(value: Any) -> Value | None:
    """Accepts a whole number, or a float with a whole value."""
    return _int(int(value) if isinstance(value, float) and value.is_integer() else value)


def _float(value: Any) -> Value | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value) + 0.0  # turns -0.0 into 0.0
    except OverflowError:
        return None
    return Value(repr(number), number) if math.isfinite(number) and number == value else None


def _number(value: Any) -> Value | None:
    return _int(value) or _float(value)


def _bool(value: Any) -> Value | None:
    return Value(str(value).lower(), None) if isinstance(value, bool) else None


def _text(value: Any) -> Value | None:
    if not isinstance(value, str) or not is_storable(value) or len(value.encode()) > MOST_BYTES:
        return None
    return Value(value, None)


def _datetime(value: Any) -> Value | None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    if getattr(value, "nanosecond", None):  # a pandas time, whose nanoseconds would be lost
        return None
    try:
        value = value.astimezone(UTC)
    except OverflowError:  # in UTC, it is before the first year or after the last
        return None
    return Value(value.isoformat(timespec="microseconds"), None)


class _Dtype(NamedTuple):
    encode: Callable[[Any], Value | None]
    decode: Callable[[str], Any]
    kinds: frozenset[str]  # of table columns that hold such values
    takes: str


def _read_number(text: str) -> int | float:
    return int(text) if text.removeprefix("-").isdecimal() else float(text)


_WORDS = f"a text of at most {MOST_BYTES:,} bytes in UTF-8, none of its characters NUL"
_WHEN = f"a datetime with a time zone, of whole microseconds, in UTC within the years {MINYEAR} to {MAXYEAR}"
_DTYPES = {
    "int": _Dtype(_whole, int, frozenset({"int", WHOLE}), "a whole number of at most 64 bits"),
    "float": _Dtype(_float, float, frozenset({"float", "int", WHOLE}), "a finite number of at most 64 bits"),
    "number": _Dtype(_number, _read_number, frozenset({"float", "int", WHOLE}), "a finite number of at most 64 bits"),
    "bool": _Dtype(_bool, "true".__eq__, frozenset({"bool"}), "True or False"),
    "str": _Dtype(_text, str, frozenset({"str", "cat"}), _WORDS),
    "datetime": _Dtype(_datetime, datetime.fromisoformat, frozenset({"datetime"}), _WHEN),
    "cat": _Dtype(_text, str, frozenset({"cat", "str"}), _WORDS),
    LABELS: _Dtype(_text, str, frozenset({"cat", "str"}), "the name of a ULabel"),
}
NAMES = tuple(_DTYPES)
_BY_TYPE = {"bool": _bool, "int": _int, "float": _float, "datetime": _datetime}


def plain(value: Any) -> Any:
    """Converts a numpy or pandas scalar to the Python object. Returns other values unchanged.

    Their times without a time zone are taken as UTC.
    """
    module = type(value).__module__
    if module == "numpy" and getattr(value, "ndim", None) == 0:
        return _time(value) if value.dtype.kind == "M" else value.item()
    of_pandas = module.partition(".")[0] == "pandas"  # pandas 3 says "pandas" itself
    is_time = of_pandas and isinstance(value, datetime) and value == value  # NaT does not equal itself
    return value.replace(tzinfo=UTC) if is_time and value.tzinfo is None else value


def _time(value: Any) -> Any:
    """Converts a `numpy.datetime64` to a datetime if the conversion is exact."""
    exact = value.astype("datetime64[us]")
    found = exact.item()
    return found.replace(tzinfo=UTC) if isinstance(found, datetime) and exact == value else value


def several(value: Any) -> list[Any]:
    """Converts an iterable, such as a Series, to a list. A text, a dict or another value becomes a list of one."""
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "_world") or not isinstance(value, Iterable):
        return [value]
    return list(value) if getattr(value, "ndim", 1) == 1 else [value]


def encode(dtype: str, value: Any) -> Value | None:
    """Encodes a value for a feature of this dtype. Returns None if the dtype does not accept it."""
    return _DTYPES[dtype].encode(value)


def compares(dtype: str, value: Any) -> bool:
    """True if values of this dtype may be compared with a value: numbers with numbers, and texts with texts."""
    if "int" in _DTYPES[dtype].kinds:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) if _DTYPES[dtype].decode is str else encode(dtype, value) is not None


def decode(dtype: str, text: str) -> Any:
    """Returns the value that is stored as this text."""
    return _DTYPES[dtype].decode(text)


def takes(dtype: str) -> str:
    """Describes the values that a feature of this dtype accepts."""
    return _DTYPES[dtype].takes


def fits(dtype: str, kind: str) -> bool:
    """True if a feature of this dtype may describe a column of this kind. An empty column fits any dtype."""
    return kind == UNKNOWN or kind in _DTYPES[dtype].kinds


def of(value: Any) -> str:
    """Returns the dtype to register for a feature with this value."""
    return next((name for name, encode in _BY_TYPE.items() if encode(value) is not None), "str")

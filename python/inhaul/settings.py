"""Settings, read from the environment when they are first used."""

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast, get_args, overload

from inhaul.texts import check_name, check_path_text, is_storable, shown

T = TypeVar("T")

Durability = Literal["batch", "process"]

_MOST_THREADS = 1024  # more threads only wait for each other
_MOST_BYTES = 2**63 - 1  # of the cache
_LONG = 20  # digits; Python does not convert texts of thousands of digits


def _text(name: str) -> str | None:
    return os.environ.get(name) or None


def _root(value: object, name: str) -> str | None:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if text is not None:
        check_name(name, text)
    return cast("str | None", text)


def _address(value: object, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value or not is_storable(value)):
        # It may hold a password, so the error does not quote it.
        raise ValueError(f"{name} is no address: pass a text, such as 'sqlite:///registry.db'")
    return value


def _durability(value: object, name: str) -> Durability:
    if value not in get_args(Durability):
        raise ValueError(f"{name}={value!r}: use one of {', '.join(get_args(Durability))}")
    return cast("Durability", value)


def _default_cache_dir() -> Path:
    try:
        base = Path(_text("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # in a container, a user may have no home
        base = Path(".inhaul", "cache")
    return base / "inhaul"


def _folder(value: object, name: str) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError(f"{name}={value!r}: pass a text or a pathlib.Path")
    check_path_text(str(value))
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name}={str(value)!r}: the home folder at its start belongs to no user") from error


def _bytes(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_BYTES:
        raise ValueError(f"{name}={shown(value)}: use a number of bytes, or leave it unset for no limit")
    return value


def _threads(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_THREADS:
        takes = f"use a number from 1 to {_MOST_THREADS:,}, or leave it unset for as many as are of use"
        raise ValueError(f"{name}={value!r}: {takes}")
    return value


def _number(name: str) -> int | str | None:
    """Returns a variable as a number; as it is if it is none, to be refused."""
    value = _text(name)
    is_number = value is not None and value.isascii() and value.isdecimal() and len(value) < _LONG
    return int(value) if value is not None and is_number else value


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have only a number
        return str(os.getuid())


def _user(value: object, name: str) -> str:
    check_name(name, value)
    return cast("str", value)


class _Setting(Generic[T]):
    """A setting whose value comes from the environment until it is assigned. Both are checked.

    Args:
        variable: The name of the environment variable.
        check: Returns the value as it is used, from a value and the name for errors.
        read: Reads the variable.
        default: Returns the value if the variable is unset or empty.
    """

    def __init__(
        self,
        variable: str,
        check: Callable[[object, str], T],
        read: Callable[[str], object] = _text,
        default: Callable[[], object] = lambda: None,
    ) -> None:
        self._variable = variable
        self._check = check
        self._read = read
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, settings: None, owner: type) -> "_Setting[T]": ...
    @overload
    def __get__(self, settings: "Settings", owner: type) -> T: ...
    def __get__(self, settings: "Settings | None", owner: type) -> "T | _Setting[T]":
        if settings is None:
            return self
        if self._name not in settings._values:
            given = self._read(self._variable)
            value = self._default() if given is None else given
            settings._values[self._name] = self._check(value, self._variable)
        return cast("T", settings._values[self._name])

    def __set__(self, settings: "Settings", value: T) -> None:
        settings._values[self._name] = self._check(value, self._name)


class Settings:
    """The settings of this process. Each field has an environment variable of its own.

    `connect()` uses `storage`, `db`, `cache_dir` and `cache_limit`: set these before you call it.

    Attributes:
        storage: Root of the default storage (`INHAUL_STORAGE`); None means `./.inhaul/storage`.
        db: Address of the registry database (`INHAUL_DB`); None means `registry.db` in the `.inhaul` folder.
        cache_dir: The folder for copies of remote objects (`INHAUL_CACHE_DIR`, else `inhaul` in `XDG_CACHE_HOME`, else
            `~/.cache/inhaul`; `./.inhaul/cache/inhaul` for a user without a home).
        cache_limit: The most bytes that the copies may use (`INHAUL_CACHE_LIMIT`); None means no limit. The least
            recently used copies are removed first.
        user: Handle recorded as `created_by` (`INHAUL_USER`, else the operating system's user).
        threads: The maximum number of threads that read (`INHAUL_THREADS`), 1 to 1,024. A job starts with one thread
            per core, and adds threads while they wait for the file system. None means a maximum of 64, or the number of
            cores if that is higher.
        durability: `"batch"` flushes stored objects to disk before their rows are committed; `"process"` leaves that to
            the operating system (`INHAUL_DURABILITY`).

    Raises:
        ValueError: A value in the environment, or an assigned one, is not valid.
        TypeError: An assigned `storage`, `cache_dir` or `user` has the wrong type.
    """

    __slots__ = ("_values",)

    storage = _Setting("INHAUL_STORAGE", _root)
    db = _Setting("INHAUL_DB", _address)
    cache_dir = _Setting("INHAUL_CACHE_DIR", _folder, default=_default_cache_dir)
    cache_limit = _Setting("INHAUL_CACHE_LIMIT", _bytes, _number)
    user = _Setting("INHAUL_USER", _user, default=_system_user)
    threads = _Setting("INHAUL_THREADS", _threads, _number)
    durability = _Setting("INHAUL_DURABILITY", _durability, default=lambda: "batch")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Reads and returns all settings.

        Raises:
            ValueError: An environment variable has an invalid value.
        """
        return {name: getattr(self, name) for name, one in vars(Settings).items() if isinstance(one, _Setting)}

    def __repr__(self) -> str:
        values = self.read()
        if values["db"] is not None and not values["db"].startswith("sqlite"):
            values["db"] = f"{values['db'].partition('://')[0]}://..."  # the rest may hold a password
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"


settings = Settings()

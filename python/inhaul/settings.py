"""Settings, read from the environment when they are first used."""

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast, get_args, overload

from inhaul.texts import check_name, check_path_text

T = TypeVar("T")

Durability = Literal["batch", "process"]

_MOST_THREADS = 1024  # more threads only wait for each other


def _text(name: str) -> str | None:
    return os.environ.get(name) or None


def _durability() -> Durability:
    value = os.environ.get("INHAUL_DURABILITY", "batch")
    if value not in get_args(Durability):
        raise ValueError(f"INHAUL_DURABILITY={value!r}: use one of {', '.join(get_args(Durability))}")
    return cast("Durability", value)


def _cache_dir() -> Path:
    if given := _text("INHAUL_CACHE_DIR"):
        return Path(given)
    try:
        base = Path(_text("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # in a container, a user may have no home
        base = Path(".inhaul", "cache")
    return base / "inhaul"


def _as_path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError(f"cache_dir={value!r}: pass a text or a pathlib.Path")
    check_path_text(str(value))
    return Path(value)


def _cache_limit() -> int | None:
    value = _text("INHAUL_CACHE_LIMIT")
    if value and not value.isdecimal():
        raise ValueError(f"INHAUL_CACHE_LIMIT={value!r}: use a number of bytes, or leave it unset for no limit")
    return int(value) if value else None


def _threads() -> int | None:
    value = _text("INHAUL_THREADS")
    if value is None:
        return None
    is_short = value.isascii() and value.isdecimal() and len(value) <= len(str(_MOST_THREADS))
    return _as_threads(int(value) if is_short else value, f"INHAUL_THREADS={value!r}")


def _as_threads(value: object, shown: str | None = None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_THREADS:
        takes = f"use a number from 1 to {_MOST_THREADS:,}, or leave it unset for one per core"
        raise ValueError(f"{shown or f'threads={value!r}'}: {takes}")
    return value


def _user() -> str:
    if given := _text("INHAUL_USER"):
        check_name("INHAUL_USER", given)
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have only a number
        return str(os.getuid())


def _as_user(value: object) -> str:
    check_name("user", value)
    return cast("str", value)


class _Setting(Generic[T]):
    """A setting whose value comes from the environment until it is assigned."""

    def __init__(self, read: Callable[[], T], check: Callable[[object], T] | None = None) -> None:
        self._read = read
        self._check = check

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
            settings._values[self._name] = self._read()
        return cast("T", settings._values[self._name])

    def __set__(self, settings: "Settings", value: T) -> None:
        settings._values[self._name] = self._check(value) if self._check is not None else value


class Settings:
    """The settings of this process. An environment variable can set each field.

    `connect()` uses `storage`, `db`, `cache_dir` and `cache_limit`: set these before.

    Attributes:
        storage: Root of the default storage (`INHAUL_STORAGE`); None means `./.inhaul/storage`.
        db: Address of the registry database (`INHAUL_DB`); None means `registry.db` in the `.inhaul` folder.
        cache_dir: The folder for copies of remote objects (`INHAUL_CACHE_DIR`, else `inhaul` in `XDG_CACHE_HOME`, else
            `~/.cache/inhaul`; `./.inhaul/cache/inhaul` for a user without a home).
        cache_limit: The most bytes that the copies may use (`INHAUL_CACHE_LIMIT`); None means no limit. The least
            recently used copies are removed first.
        user: Handle recorded as `created_by` (`INHAUL_USER`, else the operating system's user).
        threads: The number of threads of one ingest (`INHAUL_THREADS`), 1 to 1,024; None means one per core.
        durability: `"batch"` flushes stored objects to disk before their rows commit; `"process"` leaves that to
            the operating system (`INHAUL_DURABILITY`).

    Raises:
        ValueError: A value in the environment, or an assigned `cache_dir`, `user` or `threads`, is not valid.
        TypeError: An assigned `cache_dir` or `user` has the wrong type.
    """

    __slots__ = ("_values",)

    storage = _Setting(lambda: _text("INHAUL_STORAGE"))
    db = _Setting(lambda: _text("INHAUL_DB"))
    cache_dir = _Setting(_cache_dir, _as_path)
    cache_limit = _Setting(_cache_limit)
    user = _Setting(_user, _as_user)
    threads = _Setting(_threads, _as_threads)
    durability = _Setting(_durability)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Reads and returns all settings.

        Raises:
            ValueError: An environment variable has an invalid value.
        """
        return {name: getattr(self, name) for name, one in vars(Settings).items() if isinstance(one, _Setting)}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.read().items())})"


settings = Settings()

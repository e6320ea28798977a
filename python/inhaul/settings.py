"""Defaults that hold until a call says otherwise, read from the environment once."""

import getpass
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

Durability = Literal["batch", "process"]


def _durability() -> Durability:
    value = os.environ.get("INHAUL_DURABILITY", "batch")
    if value not in get_args(Durability):
        raise ValueError(f"INHAUL_DURABILITY={value!r}: use one of {', '.join(get_args(Durability))}")
    return cast("Durability", value)


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INHAUL_CACHE_DIR") or Path(base) / "inhaul")


def _cache_limit() -> int | None:
    value = os.environ.get("INHAUL_CACHE_LIMIT")
    if value and not value.isdecimal():
        raise ValueError(f"INHAUL_CACHE_LIMIT={value!r}: use a number of bytes, or leave it unset for no limit")
    return int(value) if value else None


def _threads() -> int:
    value = os.environ.get("INHAUL_THREADS") or "0"
    if not value.isdecimal():
        raise ValueError(f"INHAUL_THREADS={value!r}: use a number of threads, or 0 for one per core")
    return int(value)


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have a number only
        return str(os.getuid())


@dataclass(slots=True)
class Settings:
    """What `connect()` and the writers fall back to. Each field can be set by the variable named with it.

    Attributes:
        storage: Root of the default storage (`INHAUL_STORAGE`); None means `./.inhaul/storage`.
        db: Address of the registry database (`INHAUL_DB`); None means `registry.db` in the `.inhaul` folder.
        cache_dir: Where copies of remote objects are kept (`INHAUL_CACHE_DIR`).
        cache_limit: Bytes they may take up (`INHAUL_CACHE_LIMIT`); None means any number. The least recently used ones
            give way to others.
        user: Handle recorded as `created_by` (`INHAUL_USER`, else the operating system's user).
        threads: Worker threads of one ingest (`INHAUL_THREADS`); 0 means one per core.
        durability: `"batch"` flushes stored objects to disk before their rows commit; `"process"` leaves that to
            the operating system (`INHAUL_DURABILITY`).
    """

    storage: str | None = field(default_factory=lambda: os.environ.get("INHAUL_STORAGE") or None)
    db: str | None = field(default_factory=lambda: os.environ.get("INHAUL_DB") or None)
    cache_dir: Path = field(default_factory=_cache_dir)
    cache_limit: int | None = field(default_factory=_cache_limit)
    user: str = field(default_factory=lambda: os.environ.get("INHAUL_USER") or _os_user())
    threads: int = field(default_factory=_threads)
    durability: Durability = field(default_factory=_durability)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "cache_dir":
            if not isinstance(value, str | Path):
                raise TypeError(f"cache_dir={value!r}: pass a text or a pathlib.Path")
            value = Path(value)
        object.__setattr__(self, name, value)


settings = Settings()

"""Checks, before reading, for content that declares more data than its bytes can contain, or than memory can hold."""

import gzip
import os
import resource
from io import BytesIO
from pathlib import Path

from inhaul.errors import NotEnoughMemory

ALLOWED = 200 << 20
"""Content that declares at most this many bytes is never refused."""

_DENSEST = 1 << 15  # the most bytes that one stored byte can stand for in any usual compression
_DEFLATED = 1032  # the most bytes that one byte of gzip can stand for
_BLOCK = 1 << 20  # bytes that are decompressed at once to count them


def check(what: str, declared: int, stored: int) -> None:
    """Refuses content that declares more memory than its bytes can contain.

    Args:
        what: Its name.
        declared: The bytes that it would take in memory.
        stored: The bytes that are stored for it.

    Raises:
        ValueError: The stored bytes cannot contain that much.
    """
    if declared > max(ALLOWED, _DENSEST * stored):
        raise ValueError(f"{what} would take {declared:,} bytes of memory, but only {stored:,} are stored for it")


def check_text(what: str, declared: int, file: int) -> None:
    """Refuses a text that is longer than its file.

    Args:
        what: Its name.
        declared: Its length in bytes.
        file: The size of the file in bytes.

    Raises:
        ValueError: The text is longer.
    """
    if declared > file:
        raise ValueError(f"{what} would have a text of {declared:,} bytes, but the file has only {file:,}")


def check_room(declared: int) -> None:
    """Refuses content that does not fit into memory.

    Args:
        declared: The least bytes that it takes in memory.

    Raises:
        NotEnoughMemory: Less memory is available.
    """
    if declared > (room := _room()):
        raise NotEnoughMemory(f"it would take at least {declared:,} bytes, and {room:,} are available")


def check_unpacked(file: Path | bytes) -> None:
    """Refuses gzip content that does not fit into memory. A large file is decompressed to count its bytes.

    Args:
        file: The path or the content.

    Raises:
        NotEnoughMemory: There is no room.
    """
    room = _room()
    if (len(file) if isinstance(file, bytes) else file.stat().st_size) * _DEFLATED <= room:
        return
    size = 0
    with gzip.open(BytesIO(file) if isinstance(file, bytes) else file) as unpacked:
        while block := unpacked.read(_BLOCK):
            size += len(block)
            if size > room:
                check_room(size)


def _room() -> int:
    """Returns the bytes of memory that this process can still use."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        room = (kilobytes["MemAvailable"] + kilobytes["SwapFree"]) << 10
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, KeyError):  # not Linux: only the total memory is known
        room, taken = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize(), 0
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return room if limit == resource.RLIM_INFINITY else max(0, min(room, limit - taken))

"""Refuses content that declares more than its bytes can be worth, or than memory has room for, before it is read."""

import gzip
import os
import resource
from io import BytesIO
from pathlib import Path

from inhaul.errors import NotEnoughMemory

ALLOWED = 200 << 20
"""Bytes in memory that are not asked about, however little is stored for them."""

_DENSEST = 1 << 15  # bytes that one stored byte can stand for: no compression in use packs more
_DEFLATED = 1032  # bytes that one byte of gzip stands for at most
_BLOCK = 1 << 20  # bytes that are unpacked at once to count them


def check(what: str, declared: int, stored: int) -> None:
    """Refuses something that would take more memory than its bytes can be worth.

    Args:
        what: Its name.
        declared: Bytes that it would take in memory.
        stored: Bytes that are stored for it.

    Raises:
        ValueError: They cannot be worth that.
    """
    if declared > max(ALLOWED, _DENSEST * stored):
        raise ValueError(f"{what} would take {declared:,} bytes of memory, but only {stored:,} are stored for it")


def check_text(what: str, declared: int, file: int) -> None:
    """Refuses a text that is longer than its file.

    Args:
        what: Its name.
        declared: Its length in bytes.
        file: That of the file.

    Raises:
        ValueError: It is.
    """
    if declared > file:
        raise ValueError(f"{what} would have a text of {declared:,} bytes, but the file has only {file:,}")


def check_room(declared: int) -> None:
    """Refuses content that memory has no room for.

    Args:
        declared: Bytes that it takes in memory at least.

    Raises:
        NotEnoughMemory: There are fewer.
    """
    if declared > (room := _room()):
        raise NotEnoughMemory(f"it would take at least {declared:,} bytes, and {room:,} are available")


def check_unpacked(file: Path | bytes) -> None:
    """Refuses what gzip has compressed if memory has no room for it. A large file is unpacked to count its bytes.

    Args:
        file: Its path, or its content.

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
    """Bytes of memory that this process can still take."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        room = (kilobytes["MemAvailable"] + kilobytes["SwapFree"]) << 10
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, KeyError):  # not Linux, so all of the memory is what is known
        room, taken = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize(), 0
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return room if limit == resource.RLIM_INFINITY else max(0, min(room, limit - taken))

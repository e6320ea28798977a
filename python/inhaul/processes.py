"""Names of processes, with which other processes on the same machine can find out whether they still run."""

import os
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Returns a name that no other process has, before or after this one. Reads /proc."""
    return _name(os.getpid())


@cache
def _name(pid: int) -> str:
    return f"{_world()} {pid} {_start(pid)}"


def is_gone(name: str) -> bool:
    """Returns True if the process with this name is known to have ended. Reads /proc.

    False for processes on other machines or in other containers, about which nothing is known.
    """
    world, pid, start = name.rsplit(" ", 2)
    if world != _world() or "?" in name:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # the process of another user runs
        pass
    return _start(int(pid)) not in (start, "?")


def _world() -> str:
    """Returns a name for the scope in which process numbers are unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "?"


def _start(pid: int) -> str:
    """Returns the start time of a process, since numbers are reused; empty if it has ended and is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return "?"
    return "" if fields[0] == b"Z" else fields[19].decode()

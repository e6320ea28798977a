"""Disks with little room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """Mounts an empty disk of this size on a folder, which takes root."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def image(file: Path, folder: Path, kind: str = "ext4", *options: str) -> Iterator[Path]:
    """Mounts a disk image on a folder, and creates it if it is missing. Takes root."""
    folder.mkdir(exist_ok=True)
    if not file.exists():
        with file.open("wb") as empty:
            empty.truncate(320 << 20)
        path = f"{os.environ['PATH']}:/usr/sbin"  # which may be missing on Debian
        subprocess.run([f"mkfs.{kind}", "-q", *options, file], check=True, env={"PATH": path})
    subprocess.run(["mount", "-o", "loop", file, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)

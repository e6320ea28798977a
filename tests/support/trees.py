"""Folders to ingest."""

import random
from pathlib import Path


def grow(tree: Path, files: int, *, seed: int = 0, largest: int = 4096) -> None:
    """Makes a tree of random files: nested, some empty, some equal to others."""
    rng = random.Random(seed)
    folders = [tree, *(tree / f"d{number:02d}" / f"s{number % 3}" for number in range(12))]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    contents = [b"", *(rng.randbytes(rng.randrange(1, largest)) for _ in range(max(1, files * 3 // 4)))]
    for number in range(files):
        suffix = rng.choice([".csv", ".txt", ".fastq.gz", ""])
        (rng.choice(folders) / f"f{number:05d}{suffix}").write_bytes(rng.choice(contents))


def text_file(folder: Path, name: str) -> Path:
    """Creates a file whose content is its name."""
    return write(folder / name, name)


def open_to_all(folder: Path) -> None:
    """Lets every user read what is in a folder."""
    for one in (folder, *folder.parents):
        one.chmod(one.stat().st_mode | 0o055)


def write(path: Path, content: str | bytes) -> Path:
    """Creates a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path

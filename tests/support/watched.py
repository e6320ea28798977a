"""A watcher in a process of its own, and programs that write into its folder."""

import hashlib
import random
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import COMMAND
from registries import artifacts


@contextmanager
def watcher(folder: Path, storage: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `inhaul watch`, and kills it at the end if it still runs."""
    command = [COMMAND, "watch", folder, "--storage", storage, "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def url(storage: Path) -> str:
    """Returns the address of the registry in a storage."""
    return f"sqlite:///{storage}/.inhaul/registry.db"


def md5(content: bytes) -> str:
    """Returns the hash of a small file as it is registered."""
    return urlsafe_b64encode(hashlib.md5(content).digest()).decode().rstrip("=")


async def latest(storage: Path) -> dict[str, str]:
    """Returns the hash by key of the latest versions."""
    return {row["key"]: row["hash"] for row in await artifacts(url(storage)) if row["is_latest"]}


class Writers:
    """Programs that write files in all ways, each its own ones.

    Args:
        folder: The folder.
        seed: Of the random numbers.
        files: How many files.
        longest: The longest pause in seconds within a file.

    Attributes:
        complete: The hashes of all contents that a file had when it was closed, by its path in the folder.
        closed: The time when each of these was closed, by hash.
    """

    def __init__(self, folder: Path, seed: int, files: int, longest: float) -> None:
        self.complete: dict[str, list[str]] = defaultdict(list)
        self.closed: dict[str, float] = {}
        self._folder = folder
        self._longest = longest
        share = -(-files // 8)
        self._threads = [threading.Thread(target=self._write_all, args=(f"{seed} {n}", n, share)) for n in range(8)]

    def run(self) -> None:
        """Writes all, and waits for the end."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _write_all(self, seed: str, number: int, files: int) -> None:
        rng = random.Random(seed)
        names: list[str] = []
        for place in range(files):
            names.append(f"{number}/{rng.choice(['', 'a/', 'b/c/'])}{place}.txt")
            self._write(rng, names[-1], rng.choice(["open", "rename", "rename", "hidden"]))
            what, name = rng.random(), rng.choice(names)
            if what < 0.2:
                self._write(rng, name, rng.choice(["open", "rename", "append"]))
            elif what < 0.3 and (self._folder / name).exists():
                (self._folder / name).unlink()
            elif what < 0.35:
                self._move_in(rng, number, place, names)

    def _write(self, rng: random.Random, name: str, way: str) -> None:
        """Writes a file in pieces. With "open" and "append", others see it before it is complete."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if way == "append" and path.exists() else b""
        place = {"rename": path.with_name(f"{path.name}.part"), "hidden": path.with_name(f".{path.name}.a1B2c3")}
        with place.get(way, path).open("ab" if way == "append" else "wb", buffering=0) as file:
            for _ in range(rng.randint(1, 4)):
                file.write(piece := rng.randbytes(rng.choice([1, 100, 20_000])))
                content += piece
                time.sleep(rng.choice([0, 0.01, rng.random() * self._longest]))
            self._close(name, content, done=place.get(way) is None)
        if way in place:
            self._close(name, content, done=True)
            place[way].rename(path)

    def _move_in(self, rng: random.Random, number: int, place: int, names: list[str]) -> None:
        """Writes files into a folder beside the watched one, and moves the folder in."""
        made = self._folder.parent / f"made-{number}-{place}"
        (made / "deep").mkdir(parents=True)
        for one in range(3):
            name = f"{number}/moved-{place}/deep/{one}.txt"
            (made / "deep" / f"{one}.txt").write_bytes(content := rng.randbytes(100))
            self._close(name, content, done=True)
            names.append(name)
        (self._folder / f"{number}").mkdir(exist_ok=True)
        made.rename(self._folder / f"{number}" / f"moved-{place}")

    def _close(self, name: str, content: bytes, *, done: bool) -> None:
        """Notes a content just before others may see it as complete."""
        if done:
            self.complete[name].append(md5(content))
            self.closed[md5(content)] = time.time()

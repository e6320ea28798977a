"""Files are read part by part; parts and digests are compared with hashlib."""

import hashlib
import os
import random
import threading
import time
from pathlib import Path

import pytest

from children import run
from inhaul import hashing
from inhaul._core import PartReader
from inhaul.errors import FileChanged

MIB = 1024 * 1024
PART = 8 * MIB


def made(path: Path, size: int) -> bytes:
    content = os.urandom(size)
    path.write_bytes(content)
    return content


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(1).randbytes(9 * PART + 5)


@pytest.mark.parametrize("size", [0, 1, 4096, PART - 1, PART, PART + 1, 2 * PART, 9 * PART + 5])
def test_parts_and_digests_are_those_of_the_file(tmp_path: Path, content: bytes, size: int) -> None:
    content = content[:size]
    (tmp_path / "f").write_bytes(content)
    reader = PartReader(tmp_path / "f")
    assert (reader.size, reader.count) == (size, max(1, -(-size // PART)))
    assert reader.part_size == (PART if size >= PART else size)
    parts = []
    for first in range(0, reader.count, 8):
        parts += reader.read(first, min(8, reader.count - first))
    assert b"".join(part for part, _ in parts) == content
    assert [md5 for _, md5 in parts] == [hashlib.md5(part).digest() for part, _ in parts]
    assert reader.digest([md5 for _, md5 in parts]) == tuple(hashing.hash_file(tmp_path / "f"))
    reader.check()


def test_the_part_size_is_doubled_until_s3_takes_the_parts(tmp_path: Path) -> None:
    content = made(tmp_path / "f", 100_001)
    reader = PartReader(tmp_path / "f", part_size=10)
    assert (reader.part_size, reader.count) == (20, 5001)
    md5s = [md5 for _, md5 in reader.read(0, 5001)]
    assert md5s == [hashlib.md5(content[at : at + 20]).digest() for at in range(0, len(content), 20)]
    assert hashing.Digest(*reader.digest(md5s)).hash_type == "md5-5001"


def test_parts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "f", 100)
    reader = PartReader(tmp_path / "f", part_size=10)
    for first, count in ((0, 11), (10, 1), (2**32 - 1, 1)):
        with pytest.raises(ValueError, match="only 10"):
            reader.read(first, count)
    for md5s in ([], [bytes(16)] * 9):
        with pytest.raises(ValueError, match="10 parts"):
            reader.digest(md5s)
    with pytest.raises(ValueError, match="at least one byte"):
        PartReader(tmp_path / "f", part_size=0)


def test_a_file_that_changes_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    content = made(path, 100)
    reader = PartReader(path, part_size=10)
    modified = path.stat().st_mtime_ns
    path.write_bytes(content[::-1])
    os.utime(path, ns=(modified, modified))
    with pytest.raises(FileChanged, match="changed while it was read"):
        reader.check()
    reader = PartReader(path, part_size=10)
    os.truncate(path, 95)
    with pytest.raises(FileChanged, match=str(path)):
        reader.read(0, 10)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("f")
    with pytest.raises(OSError, match="pipe"):
        PartReader(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        PartReader(tmp_path)
    with pytest.raises(FileNotFoundError):
        PartReader(tmp_path / "link")
    content = made(tmp_path / "f", 10)
    assert PartReader(tmp_path / "link").read(0, 1)[0][0] == content


def longest_wait(reader: PartReader) -> float:
    """Returns the longest time in which this thread could not run, as a share of a read in another thread."""
    reading = threading.Thread(target=reader.read, args=(0, 1))
    begun = last = time.perf_counter()
    reading.start()
    longest = 0.0
    while reading.is_alive():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    reading.join()
    return longest / (time.perf_counter() - begun)


def test_other_threads_run_while_a_part_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    reader = PartReader(path, part_size=64 * MIB)
    # Allocating the part needs the GIL; reading and hashing it do not.
    assert min(longest_wait(reader) for _ in range(5)) < 0.7


MEMORY = """
import resource, sys
from inhaul._core import PartReader
PART = 8 << 20
reader = PartReader(sys.argv[1])
reader.read(0, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for first in range(0, reader.count, 4):
    reader.read(first, 4)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / PART)
"""


def test_no_more_than_the_parts_asked_for_are_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(32 * PART)
    assert float(run(MEMORY, str(path)).stdout) < 4.5

"""A scanner that hands over what is new, to a storage made of a dict."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from children import run
from inhaul._core import Batch, PartReader, Scanner
from inhaul.errors import FileChanged
from scans import PART, drain, fill, issues, known_from, rows, scanner

MIB = 1024 * 1024


class Storage:
    """Takes what a scanner hands over, in a thread of its own."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.readers = 0

    def send(self, scan: Scanner, object_key: str, content: bytes | PartReader, etag: str | None, ticket: int) -> None:
        if isinstance(content, bytes):
            assert etag == hashlib.md5(content).hexdigest()
            self.objects[object_key] = content
            scan.stored([(ticket, "etag")])
            return
        self.readers += 1
        assert etag is None
        try:
            parts = [part for first in range(content.count) for part in content.read(first, 1)]
            content.check()
            digest = content.digest([digest for _, digest in parts])
        except FileChanged as error:
            scan.not_read(ticket, error.args[0], 0)
        else:
            self.objects[object_key] = b"".join(part for part, _ in parts)
            scan.stored_large(ticket, "readback", digest)

    def take(self, scan: Scanner) -> None:
        with suppress(RuntimeError):  # the scan was stopped, which the caller also sees
            while (uploads := scan.next_uploads()) is not None:
                for ticket, object_key, content, etag in uploads:
                    self.send(scan, object_key, content, etag, ticket)

    def drain(self, scan: Scanner, known: Callable[[list[str]], Any] = lambda keys: []) -> list[Batch]:
        sender = threading.Thread(target=self.take, args=(scan,))
        sender.start()
        try:
            return drain(scan, known)
        finally:
            sender.join()


def mixed(root: Path) -> dict[str, bytes]:
    """Writes files of all sizes that the scanner treats differently."""
    sizes = {"empty": 0, "one": 1, "small": 4096, "arena": 128 * 1024, "own": 128 * 1024 + 1, "under": PART - 1}
    sizes |= {"part": PART, "large": 3 * PART + 5}
    sizes |= {f"many/{n}": n for n in range(300)}
    files = {name: random.Random(name).randbytes(size) for name, size in sizes.items()}
    fill(root, files)
    return files


def test_what_is_new_is_handed_over_and_recorded(root: Path) -> None:
    files = mixed(root)
    storage = Storage()
    batches = storage.drain(scanner(root, uploads=True))
    made = rows(batches)
    assert [row[1] for row in made] == sorted(files)
    assert storage.objects == {row[4]: files[row[1]] for row in made}
    assert storage.readers == 2
    assert [row[:-1] for row in made] == [row[:-1] for row in rows(drain(scanner(root)))]
    json = "".join(batch.rows_json({}) for batch in batches)
    assert json.count('"etag"]') == len(files) - 2
    assert json.count('"readback"]') == 2


def test_what_is_known_is_handed_over_only_if_it_differs(root: Path) -> None:
    files = mixed(root)
    first = Storage().drain(scanner(root, uploads=True))
    same = Storage()
    again = same.drain(scanner(root, uploads=True, salt=b"other"), known_from(first))
    assert {row[2] for row in rows(again)} == {"unchanged"}
    assert same.objects == {}
    assert same.readers == 0

    changed = ["empty", "one", "own", "under", "part", "large", "many/7"]
    for name in changed:
        (root / name).write_bytes(files[name][::-1] or b"x")
    differs = Storage()
    made = rows(differs.drain(scanner(root, uploads=True, salt=b"other"), known_from(first)))
    new = [row for row in made if row[2] == "new_version"]
    assert [row[1] for row in new] == sorted(name for name in changed if len(files[name]) != 1)
    assert differs.objects == {row[4]: (root / row[1]).read_bytes() for row in new}


def test_the_second_pass_hands_over_what_is_as_it_was_staged(root: Path) -> None:
    files = mixed(root)
    staged = drain(scanner(root))
    for name in ("small", "under", "large"):
        (root / name).write_bytes(files[name][::-1])
    storage = Storage()
    batches = storage.drain(
        Scanner.again(staged, root, destination=None, uploads=True, overwrite=False, threads=2), None
    )
    assert issues(batches) == {f"{root}/{name}": "changed" for name in ("small", "under", "large")}
    made = rows(batches)
    assert len(made) == len(files) - 3
    assert storage.objects == {row[4]: files[row[1]] for row in made}
    assert storage.readers == 2  # files that changed since they were staged are not sent again


def test_each_failure_is_an_issue_of_its_own(root: Path) -> None:
    files = mixed(root)

    class Failing(Storage):
        def send(self, scan: Scanner, object_key: str, content: Any, etag: str | None, ticket: int) -> None:
            if isinstance(content, PartReader) or content == files["own"]:
                scan.not_stored(ticket, "it did not want it", 111)
            else:
                super().send(scan, object_key, content, etag, ticket)

    batches = Failing().drain(scanner(root, uploads=True))
    assert issues(batches) == {f"{root}/{name}": "not_stored" for name in ("own", "part", "large")}
    told = [(message, code) for batch in batches for _, _, message, code in batch.issues]
    assert set(told) == {("it did not want it", 111)}
    assert len(rows(batches)) == len(files) - 3


@pytest.mark.parametrize("steady_after", [2, 99])
def test_a_large_file_that_changes_while_it_is_sent_is_tried_three_times(root: Path, steady_after: int) -> None:
    fill(root, {"large": bytes(PART), "calm": b"c"})

    class Meddling(Storage):
        def send(self, scan: Scanner, object_key: str, content: Any, etag: str | None, ticket: int) -> None:
            if isinstance(content, PartReader) and self.readers < steady_after:
                with (root / "large").open("ab") as file:
                    file.write(b"more")
            super().send(scan, object_key, content, etag, ticket)

    storage = Meddling()
    batches = storage.drain(scanner(root, uploads=True))
    assert storage.readers == 3
    if steady_after == 2:
        large = next(row for row in rows(batches) if row[1] == "large")
        assert storage.objects[large[4]] == (root / "large").read_bytes()
        assert large[7] == PART + 8
    else:
        assert issues(batches) == {f"{root}/large": "changed"}
        assert [row[1] for row in rows(batches)] == ["calm"]


class Hoarding(Storage):
    """Settles uploads only when it gets no more of them, the last ones first."""

    def __init__(self, files: int) -> None:
        super().__init__()
        self.files = files
        self.held: list[tuple[Any, ...]] = []
        self.most = 0

    def send(self, scan: Scanner, *upload: Any) -> None:
        self.held.append(upload)
        self.files -= 1
        size = sum(len(content) if isinstance(content, bytes) else PART for _, content, _, _ in self.held)
        self.most = max(self.most, size)
        if size >= 100 * MIB or not self.files:
            while self.held:
                super().send(scan, *self.held.pop())


def test_more_than_fits_in_memory_is_held_back(root: Path) -> None:
    for n in range(40):
        with (root / f"{n:03}").open("wb") as file:
            file.truncate(6 * MIB)
    for n in range(5):
        with (root / f"large-{n}").open("wb") as file:
            file.truncate(2 * PART)
    storage = Hoarding(45)
    assert len(rows(storage.drain(scanner(root, uploads=True)))) == 45
    assert 100 * MIB <= storage.most <= 128 * MIB


@contextmanager
def stuck(root: Path) -> Iterator[Scanner]:
    """A scanner whose threads wait for room that nobody will make."""
    for n in range(60):
        with (root / str(n)).open("wb") as file:
            file.truncate(4 * MIB)
    scan = scanner(root, uploads=True)
    listing = scan.next_listing()
    assert listing is not None
    scan.submit(listing, [])
    taken = 0
    while taken < 30:
        taken += len(scan.next_uploads() or ())
    yield scan
    scan.close()


def test_stopping_while_there_is_no_room_ends_soon(root: Path) -> None:
    with stuck(root) as scan:
        begun = time.monotonic()
        threading.Timer(0.2, scan.stop).start()
        with pytest.raises(RuntimeError, match="stopped"):
            while True:
                scan.next_uploads()
        scan.close()
        assert time.monotonic() - begun < 5
        scan.stored([])


def test_wrong_results_of_uploads_are_refused(root: Path) -> None:
    fill(root, {"small": b"s", "large": bytes(PART)})
    scan = scanner(root, uploads=True)
    listing = scan.next_listing()
    assert listing is not None
    scan.submit(listing, [])
    found: dict[type, int] = {}
    while len(found) < 2:
        found |= {type(content): ticket for ticket, _, content, _ in scan.next_uploads() or ()}
    for call in (
        lambda: scan.stored([(99, "etag")]),
        lambda: scan.stored([(found[bytes], "hope")]),
        lambda: scan.stored_large(found[PartReader], "etag", ("nonsense", "md5-1", PART)),
        lambda: scan.not_stored(99, "", 0),
    ):
        with pytest.raises(ValueError, match=r"99|hope|nonsense"):
            call()
    scan.close()


IDLE = """
import resource, sys, threading
from inhaul._core import Scanner
scan = Scanner(sys.argv[1], key_prefix="", in_place=False, destination=None, uploads=True, salt=b"", overwrite=False,
    exclude=[], follow_symlinks=False, threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scan.submit(scan.next_listing(), [])
assert scan.next_listing() is None
while (uploads := scan.next_uploads()) is not None:
    scan.stored([(ticket, "etag") for ticket, *_ in uploads])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded(root: Path) -> None:
    for n in range(100):
        with (root / str(n)).open("wb") as file:
            file.truncate(7 * MIB)
    child = run(IDLE, str(root))
    assert int(child.stdout) < 200, child.stderr

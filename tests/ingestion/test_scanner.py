"""The scanner as Python uses it: planning, copying and stopping."""

import errno
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from disks import disk
from inhaul import keys
from inhaul._core import Contents, Listing, Root, Scanner
from scans import PART, Known, drain, fill, issues, known_from, md5, object_bytes, objects, rows, scanner


@contextmanager
def rewriting(path: Path, at: int) -> Iterator[None]:
    """Rewrites a file again and again; its size and its time stay the same."""
    stamp = path.stat()
    done = threading.Event()

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not done.is_set():
                os.pwrite(file.fileno(), os.urandom(16), at)
                os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("size", [40 * 1024 * 1024, 6 * 1024 * 1024])
def test_a_file_that_changes_while_it_is_copied_leaves_no_object(root: Path, store: Path, size: int) -> None:
    fill(root, {"changing": b"\0" * size, "calm": b"c"})
    with rewriting(root / "changing", size // 2):
        for number in range(20):  # on a busy machine, a copy may be made while the file is not written to
            (folder := store / str(number)).mkdir(parents=True)
            batches = drain(scanner(root, destination=folder))
            assert objects(folder) == sorted(row[4] for row in rows(batches))
            if found := issues(batches):
                break
    assert found == {str(root / "changing"): "changed"}
    assert [row[1] for row in rows(batches)] == ["calm"]


def test_stored_bytes_are_the_hashed_ones_though_files_change(root: Path, store: Path) -> None:
    fill(root, {f"{n:03}": bytes(8192) for n in range(400)})
    done = threading.Event()

    def write() -> None:
        generator = random.Random(4)
        while not done.is_set():
            path = root / f"{generator.randrange(400):03}"
            stamp = path.stat()
            path.write_bytes(generator.randbytes(8192))
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            batches = drain(scanner(root, destination=store, salt=bytes([number])))
            assert len(rows(batches)) > 200
            for row in rows(batches):
                assert md5(object_bytes(store, row)) == row[8]
            assert set(issues(batches).values()) <= {"changed"}
    finally:
        done.set()
        writer.join()


def test_copies_have_the_bytes_of_their_files(root: Path, store: Path) -> None:
    generator = random.Random(5)
    sizes = [0, 1, 4096, 131_072, 131_073, 1024 * 1024, PART - 1, PART, PART + 1, 3 * PART + 17]
    fill(root, {f"{size}.csv": generator.randbytes(size) for size in sizes})
    batches = drain(scanner(root, destination=store))
    assert len(rows(batches)) == len(sizes)
    for row in rows(batches):
        assert object_bytes(store, row) == Path(row[0]).read_bytes()
    assert objects(store) == sorted(row[4] for row in rows(batches))
    hashed = drain(scanner(root))
    assert [row[7:10] for row in rows(hashed)] == [row[7:10] for row in rows(batches)]


def test_objects_are_written_over_only_when_asked(root: Path, store: Path) -> None:
    fill(root, {"a": b"x", "b": b"y" * PART})
    drain(scanner(root, destination=store))
    fill(root, {"a": b"new"})
    batches = drain(scanner(root, destination=store))
    assert [(issue[1], issue[3]) for batch in batches for issue in batch.issues] == [("io_error", errno.EEXIST)] * 2
    batches = drain(scanner(root, destination=store, overwrite=True))
    assert [object_bytes(store, row)[:3] for row in rows(batches)] == [b"new", b"yyy"]


def test_without_space_only_what_fits_is_stored(root: Path, tmp_path: Path) -> None:
    fill(root, {"big": os.urandom(3 * 1024 * 1024), "small": b"s", "zig": os.urandom(100_000)})
    with disk(tmp_path / "full", "1m") as full:
        batches = drain(scanner(root, destination=full))
        failed = issues(batches)
        assert failed[str(root / "big")] == "no_space"
        assert set(failed.values()) == {"no_space"}  # what is written while the large one fills the disk may fail, too
        assert all("No space left on device" in issue[2] for batch in batches for issue in batch.issues)
        assert objects(full) == sorted(row[4] for row in rows(batches))

        (root / "big").unlink()
        again = drain(scanner(root, destination=full, overwrite=True))
        assert [row[1] for row in rows(again)] == ["small", "zig"]  # so the files that failed left no bytes behind


def test_only_what_differs_from_known_rows_is_stored(root: Path, store: Path) -> None:
    files = {"same": b"same", "big": b"b" * PART, "other": b"other", "longer": b"l", "trash": b"t", "new": b"n"}
    fill(root, files)
    first = drain(scanner(root, destination=store))
    stored = {row[1]: row for row in rows(first)}
    before = objects(store)
    fill(root, {"other": b"OTHER", "longer": b"longer", "trash": b"changed", "big2": b"b" * PART})

    def known(wanted: list[str]) -> Sequence[Known]:
        found = [(n, key, stored[key]) for n, key in enumerate(wanted) if key in stored and key != "new"]
        return [
            (n, row[3], row[3][:16] + "000z" if key == "other" else row[3], row[7], row[8], row[9],
             -1 if key == "trash" else 0, f"record of {key}")
            for n, key, row in found
        ]  # fmt: skip

    (batch,) = drain(scanner(root, destination=store, salt=b"2"), known)
    found = {row[1]: row for row in rows([batch])}
    assert {key: row[2] for key, row in found.items()} == {
        "same": "unchanged", "big": "unchanged", "other": "new_version", "longer": "new_version", "new": "new",
        "big2": "new",
    }  # fmt: skip
    assert issues([batch]) == {str(root / "trash"): "trashed"}
    assert found["same"][3] == stored["same"][3]
    assert found["same"][10] == "record of same"
    assert found["other"][3] == stored["other"][3][:16] + "0010"
    assert found["longer"][3] == stored["longer"][3][:16] + "0001"
    assert found["new"][3] != stored["new"][3]
    assert batch.counts == {"new": 2, "new_version": 2, "unchanged": 2}
    assert sorted(batch.successors) == sorted((stored[key][3], found[key][3]) for key in ("other", "longer"))
    assert sorted(json.loads(batch.unchanged_json())) == sorted(stored[key][3] for key in ("same", "big"))
    assert {row[1] for row in json.loads(batch.rows_json({}))} == {"other", "longer", "new", "big2"}
    # Only new content was written, and earlier objects stay as they were.
    written = {found[key][4] for key in ("other", "longer", "new", "big2")}
    assert set(objects(store)) == {*before, *written}
    assert object_bytes(store, found["other"]) == b"OTHER"
    assert object_bytes(store, stored["other"]) == b"other"


def test_other_content_of_a_known_size_is_a_new_version(root: Path, store: Path) -> None:
    fill(root, {"big": b"a" * (2 * PART), "middle": b"a" * 500_000})
    first = drain(scanner(root, destination=store))
    fill(root, {"big": b"b" * (2 * PART), "middle": b"b" * 500_000})
    second = drain(scanner(root, destination=store), known_from(first))
    for row in rows(second):
        assert row[2] == "new_version"
        assert object_bytes(store, row) == Path(row[0]).read_bytes()


def test_the_second_pass_copies_what_was_staged(root: Path, store: Path) -> None:
    fill(root, {f"{n:04}": b"%d" % n for n in range(9000)} | {"big": b"b" * (PART + 1), "zz": b"z"})
    staged = drain(scanner(root, key_prefix="p"))
    known = known_from([staged[-1]])
    staged = drain(scanner(root, key_prefix="p"), known)
    assert objects(store) == []
    fill(root, {"0007": b"!", "big": b"B" * (PART + 1), "zz": b"Z"})
    (root / "0008").unlink()

    scan = Scanner.again(staged, root, destination=Root(store), uploads=False, overwrite=False, threads=2)
    assert scan.next_listing() is None
    batches = drain(scan)
    assert issues(batches) == {str(root / "0007"): "changed", str(root / "0008"): "vanished"}
    kept = [row for row in rows(staged) if row[1] not in ("p/0007", "p/0008")]
    assert rows(batches) == kept
    copied = [row for row in kept if row[2] != "unchanged"]
    assert len(copied) == 9002 - len(staged[-1]) - 2
    assert objects(store) == sorted(row[4] for row in copied)


def test_the_second_pass_refuses_a_large_file_that_changed(root: Path, store: Path) -> None:
    fill(root, {"big": b"b" * (2 * PART)})
    staged = drain(scanner(root))
    fill(root, {"big": b"B" * (2 * PART)})
    batches = drain(Scanner.again(staged, root, destination=Root(store), uploads=False, overwrite=False, threads=2))
    assert (rows(batches), issues(batches)) == ([], {str(root / "big"): "changed"})
    assert objects(store) == []


def test_with_known_tells_rows_of_others_from_its_own(root: Path, store: Path) -> None:
    fill(root, {"mine": b"1", "theirs": b"2", "lost": b"3", "gone": b"4", "same": b"5"})
    first = rows(drain(scanner(root, destination=store, salt=b"0")))
    same = next(row for row in first if row[1] == "same")
    known = [(4, same[3], same[3], same[7], same[8], same[9], 0, "")]
    (batch,) = drain(scanner(root, destination=store), lambda wanted: [(wanted.index("same"), *known[0][1:])])
    places = {row[1]: n for n, row in enumerate(rows([batch]))}
    mine, theirs, lost, gone = (batch.row(places[key]) for key in ("mine", "theirs", "lost", "gone"))
    other = keys.new_uid()
    after, orphans = batch.with_known([
        (places["mine"], mine[3], mine[3], mine[7], mine[8], mine[9], 0, "mine"),
        (places["theirs"], other, other, theirs[7], theirs[8], theirs[9], 0, "theirs"),
        (places["lost"], other, other, 1, md5(b"other"), "md5", 0, "other"),
    ], {places["mine"]})  # fmt: skip
    found = {row[1]: row for row in rows([after])}
    assert {key: (row[2], row[3]) for key, row in found.items()} == {
        "mine": ("new", mine[3]), "theirs": ("unchanged", other), "same": ("unchanged", same[3]),
    }  # fmt: skip
    assert found["theirs"][10] == "theirs"
    assert issues([after]) == {str(root / "lost"): "conflict", str(root / "gone"): "conflict"}
    assert sorted(orphans) == sorted(row[4] for row in (theirs, lost, gone))
    assert len(batch) == 5


def test_with_known_in_place_has_no_objects_of_its_own(root: Path) -> None:
    fill(root, {"a": b"1"})
    (batch,) = drain(scanner(root, in_place=True))
    other = keys.new_uid()
    after, orphans = batch.with_known([(0, other, other, 1, md5(b"1"), "md5", 0, "")], set())
    assert (after.row(0)[3], orphans) == (other, [])


def test_without_duplicates_keeps_the_first_of_equal_files(root: Path) -> None:
    fill(root, {f"{n:05}": b"%d" % (n % 5) for n in range(9000)} | {"a": b"", "b": b""})
    contents = Contents()
    kept = [batch.without_duplicates(contents) for batch in drain(scanner(root))]
    assert [row[1] for row in rows(kept)] == ["00000", "00001", "00002", "00003", "00004", "a"]


@pytest.mark.parametrize(
    "known", [(0, "short", "short", 1, "", "md5", 0, ""), (0, "0" * 20, "z" * 20, 1, "", "md5", 0, "")]
)
def test_wrong_uids_are_refused(root: Path, known: Known) -> None:
    fill(root, {"a": b""})
    scan = scanner(root)
    listing = scan.next_listing()
    assert listing
    with pytest.raises(ValueError, match=r"uid|version"):
        scan.submit(listing, [known])
    scan.close()


def open_now() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def descriptors() -> int:
    """Returns how many stay open after a garbage collection, which can take a second late in a run."""
    gc.collect()
    return open_now()


def threads_of_scans() -> int:
    tasks = Path("/proc/self/task").glob("*/comm")
    return sum(comm.read_text().strip() == "inhaul-scan" for comm in tasks)


@pytest.mark.parametrize("copying", [False, True])
def test_stopping_within_a_large_file_ends_soon(root: Path, store: Path, copying: bool) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 34)
    scan = scanner(root, destination=store if copying else None)
    listing = scan.next_listing()
    assert listing
    scan.submit(listing, [])
    stopped: list[float] = []

    def wait() -> None:
        with pytest.raises(RuntimeError, match="stopped"):
            scan.next_batch()
        stopped.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.2)
    asked = time.monotonic()
    scan.stop()
    waiter.join()
    scan.close()
    assert stopped[0] - asked < 0.1
    assert time.monotonic() - asked < (1 if copying else 0.3)  # what was copied so far has to be removed
    assert threads_of_scans() == 0
    assert objects(store) == []
    with pytest.raises(RuntimeError, match="stopped"):
        scan.next_listing()


def test_a_scan_that_nobody_closes_leaves_nothing(root: Path) -> None:
    fill(root, {f"{n:05}": b"x" for n in range(3000)})
    before = descriptors()
    for _ in range(20):
        scan = scanner(root)
        scan.next_listing()
        del scan
    assert threads_of_scans() == 0
    assert descriptors() == before


def test_threads_that_read_have_a_lower_priority(root: Path) -> None:
    fill(root, {f"{n:05}": b"x" for n in range(20_000)})

    def niceness(thread: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, thread)

    before = niceness(0)
    scan = scanner(root)
    scan.next_listing()
    tasks = [int(comm.parent.name) for comm in Path("/proc/self/task").glob("*/comm")]
    while sorted(map(niceness, tasks))[-2:] != [min(19, before + 10)] * 2:  # the second one may just have begun
        time.sleep(0.01)
    assert niceness(0) == before
    scan.stop()
    scan.close()


def test_stopping_at_random_moments_leaves_nothing(root: Path, store: Path) -> None:
    fill(root, {f"{n % 20}/{n}": b"x" * (n % 5000) for n in range(3000)} | {"big": b"b" * (2 * PART)})
    generator = random.Random(6)
    before = descriptors()
    for number in range(20):
        scan = scanner(root, destination=store, salt=bytes([number]))
        timer = threading.Timer(generator.random() * 0.15, scan.stop)
        timer.start()
        with suppress(RuntimeError):
            drain(scan)
        timer.join()
    del scan, timer
    assert threads_of_scans() == 0
    assert descriptors() == before


def test_a_scan_opens_few_files_at_once(root: Path) -> None:
    fill(root, {f"{n % 300}/{n % 7}/{n}": b"x" * 200_000 for n in range(600)})
    fill(root, {f"big/{n}": b"" for n in range(64)})
    for n in range(64):
        os.truncate(root / f"big/{n}", 20 * 1024 * 1024)
    before = descriptors()
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):  # the scan needs the core, too
            peak = max(peak, open_now() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    batches = drain(scanner(root))
    done.set()
    watcher.join()
    assert len(rows(batches)) == 664
    assert 2 < peak <= 3 * 2 * 16 + 6


def test_results_come_before_a_batch_is_full(root: Path) -> None:
    fill(root, {f"{n:05}": b"" for n in range(9000)})
    scan = scanner(root)
    first = scan.next_listing()
    assert first
    scan.submit(first, [])
    ready = 0
    while ready < len(first):  # in several batches where the workers are slower than this
        ready += len(scan.next_batch() or [])
    second = scan.next_listing()
    assert second
    started = time.monotonic()

    def submit() -> None:
        time.sleep(0.3)
        scan.submit(second, [])

    thread = threading.Thread(target=submit)
    thread.start()
    batch = scan.next_batch()
    thread.join()
    assert batch
    assert len(batch) <= len(second) < 8192
    assert time.monotonic() - started >= 0.3
    scan.close()


def test_the_gil_is_free_while_a_call_waits(root: Path) -> None:
    fill(root, {"a": b""})
    scan = scanner(root)
    assert isinstance(scan.next_listing(), Listing)

    def wait() -> None:
        with pytest.raises(RuntimeError, match="stopped"):
            scan.next_batch()

    waiter = threading.Thread(target=wait)
    waiter.start()
    started = time.monotonic()
    sum(range(100_000))
    assert time.monotonic() - started < 0.5
    scan.stop()
    waiter.join()


def test_interrupt_ends_a_call_that_waits(root: Path) -> None:
    fill(root, {"a": b""})
    script = """
import sys
from inhaul._core import Scanner
scan = Scanner(sys.argv[1], key_prefix="", in_place=True, destination=None, uploads=False, salt=b"",
               overwrite=False, exclude=[], follow_symlinks=False, threads=2)
scan.next_listing()
print("ready", flush=True)
scan.next_batch()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout
    child.stdout.readline()
    started = time.monotonic()
    child.send_signal(2)
    _, errors = child.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - started < 2

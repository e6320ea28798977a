"""Copies of objects: whole or not there, fetched once, bounded."""

import asyncio
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from disks import disk
from inhaul.cache import Cache, Entry
from inhaul.errors import ObjectDamaged, StorageFull
from inhaul.hashing import Digest, hash_bytes, hash_dir
from registries import seeds

DAY = timedelta(days=1)


class Bytes:
    """An object that is served from memory, changed by `spoil`. It counts how often it was served."""

    def __init__(self, content: bytes, spoil: Callable[[bytes], bytes] = bytes) -> None:
        self.content = content
        self.spoil = spoil
        self.served = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    @property
    def entry(self) -> Entry:
        return Entry("u" * 20, ".bin", hash_bytes(self.content), False)

    async def fetch(self, target: Path) -> None:
        self.served += 1
        await asyncio.to_thread(target.write_bytes, self.content[:10])
        await self.may_go_on.wait()
        await asyncio.to_thread(target.write_bytes, self.spoil(self.content))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", None)


def entries(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir() if not path.name.startswith("."))


def partial(cache: Cache) -> list[str]:
    return sorted(path.name for path in (cache.folder / ".partial").iterdir())


async def test_an_entry_is_fetched_once_and_then_served_without_asking_anybody(cache: Cache) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    assert path.read_bytes() == b"content"
    assert path.name == f"{'u' * 20}-{hash_bytes(b'content').hash}.bin"
    assert await cache.get(it.entry, it.fetch) == path
    assert await Cache(cache.folder, None).has(it.entry) == path
    assert (it.served, partial(cache)) == (1, [])


async def test_other_content_under_the_same_uid_is_another_entry(cache: Cache) -> None:
    old, new = Bytes(b"old"), Bytes(b"new")
    assert (await cache.get(old.entry, old.fetch)).read_bytes() == b"old"
    assert (await cache.get(new.entry, new.fetch)).read_bytes() == b"new"


def spoils(rng: random.Random) -> Callable[[bytes], bytes]:
    """Returns a way in which a server can damage content."""

    def flip(content: bytes) -> bytes:
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]

    def cut(content: bytes) -> bytes:
        return content[: rng.randrange(len(content))]

    def short_range(content: bytes) -> bytes:
        at = rng.randrange(len(content) - 1)
        return content[:at] + content[at + 1 :]

    def same_length(content: bytes) -> bytes:
        return cut(content).ljust(len(content), b"\0")

    return rng.choice([flip, cut, short_range, same_length, lambda content: content + b"x", lambda _: b""])


@seeds(1, 50)
async def test_bad_downloads_never_get_a_name(cache: Cache, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        it = Bytes(rng.randbytes(rng.randrange(2, 5000)).rstrip(b"\0") + b"x", spoils(rng))
        with pytest.raises(ObjectDamaged, match="registered"):
            await cache.get(it.entry, it.fetch)
        assert (entries(cache), partial(cache)) == ([], [])
        bad, it.spoil = it.spoil, lambda content: content
        once = [bad]
        it.spoil = lambda content, once=once: once.pop()(content) if once else content  # type: ignore[misc]
        path = await cache.get(it.entry, it.fetch)
        assert path.read_bytes() == it.content, "the second download was a good one"
        path.unlink()


async def test_an_object_with_an_etag_only_is_checked_for_its_size(cache: Cache) -> None:
    it = Bytes(b"content", lambda content: content[1:])
    entry = Entry("u" * 20, ".bin", Digest("9a0364b9e99bb480dd25e1f0284c8555/3", "etag", 7), False)
    with pytest.raises(ObjectDamaged):
        await cache.get(entry, it.fetch)
    it.spoil = bytes
    assert (await cache.get(entry, it.fetch)).parent == cache.folder


async def test_a_folder_appears_whole(cache: Cache, tmp_path: Path) -> None:
    source = tmp_path / "x.zarr"
    (source / "a").mkdir(parents=True)
    (source / "a" / "b").write_text("1")
    (source / "c").write_text("2")
    entry = Entry("u" * 20, ".zarr", hash_dir(source), True)

    async def fetch(target: Path) -> None:
        await asyncio.to_thread(shutil.copytree, source, target)

    path = await cache.get(entry, fetch)
    assert hash_dir(path) == entry.digest
    (source / "c").write_text("3")
    with pytest.raises(ObjectDamaged):
        await Cache(tmp_path / "other", None).get(entry, fetch)


async def test_however_many_ask_it_is_fetched_once(cache: Cache) -> None:
    it = Bytes(b"content" * 1000)
    paths = await asyncio.gather(*(cache.get(it.entry, it.fetch) for _ in range(100)))
    assert len(set(paths)) == 1
    assert it.served == 1


async def test_one_who_gives_up_does_not_end_it_for_the_others(cache: Cache) -> None:
    it = Bytes(b"content")
    it.may_go_on.clear()
    first, second = (asyncio.create_task(cache.get(it.entry, it.fetch)) for _ in range(2))
    while not it.served:
        await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    it.may_go_on.set()
    assert (await second).read_bytes() == b"content"
    assert it.served == 1


async def test_when_all_give_up_it_ends_and_leaves_nothing(cache: Cache) -> None:
    it = Bytes(b"content")
    it.may_go_on.clear()
    waiting = [asyncio.create_task(cache.get(it.entry, it.fetch)) for _ in range(3)]
    while not it.served:
        await asyncio.sleep(0.001)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert (entries(cache), partial(cache)) == ([], [])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    it.may_go_on.set()
    assert (await cache.get(it.entry, it.fetch)).read_bytes() == b"content"


async def test_an_error_reaches_all_who_wait_and_the_next_call_tries_again(cache: Cache) -> None:
    it = Bytes(b"content")

    async def fail(target: Path) -> None:
        await it.fetch(target)
        raise ConnectionResetError("cut off")

    outcomes = await asyncio.gather(*(cache.get(it.entry, fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionResetError] * 3
    assert partial(cache) == []
    assert (await cache.get(it.entry, it.fetch)).read_bytes() == b"content"


async def test_loops_of_one_process_share_a_download(cache: Cache) -> None:
    it = Bytes(b"content" * 10000)
    done: list[Path] = []
    threads = [threading.Thread(target=lambda: done.append(asyncio.run(cache.get(it.entry, it.fetch)))) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert len(done) == 4
    assert it.served == 1


async def test_an_entry_that_was_cut_afterwards_is_fetched_again(cache: Cache) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    path.chmod(0o644)
    path.write_bytes(b"con")
    assert (await cache.get(it.entry, it.fetch)).read_bytes() == b"content"
    assert it.served == 2


async def test_an_entry_that_was_overwritten_with_as_many_bytes_is_fetched_again_once(cache: Cache) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for one in (cache, Cache(cache.folder, None)):
        assert (await one.get(it.entry, it.fetch)).read_bytes() == b"content"
    assert it.served == 2


async def test_has_does_not_take_an_entry_that_was_overwritten(cache: Cache) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    path.chmod(0o644)
    path.write_bytes(b"CONTENT")
    assert await cache.has(it.entry) is None


async def test_an_entry_that_only_looks_changed_is_hashed_and_kept(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    path.touch()
    assert await cache.get(it.entry, it.fetch) == path
    (cache.folder / ".notes" / path.name).write_bytes(b"\xff")  # as a crash may leave it
    assert await cache.get(it.entry, it.fetch) == path
    hashed: list[object] = []
    monkeypatch.setattr("inhaul.hashing.hash_like", lambda *given: hashed.append(given))
    assert await cache.get(it.entry, it.fetch) == path
    assert (it.served, hashed) == (1, [])


async def test_a_changed_entry_with_an_etag_only_is_fetched_again(cache: Cache) -> None:
    it = Bytes(b"content")
    entry = Entry("u" * 20, ".bin", Digest("9a0364b9e99bb480dd25e1f0284c8555", "etag", 7), False)
    path = await cache.get(entry, it.fetch)
    await cache.get(entry, it.fetch)
    assert it.served == 1
    path.chmod(0o644)
    path.write_bytes(b"CONTENT")
    assert (await cache.get(entry, it.fetch)).read_bytes() == b"content"
    assert it.served == 2


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_what_is_no_file_in_the_place_of_an_entry_is_not_taken(cache: Cache, tmp_path: Path, kind: str) -> None:
    it = Bytes(b"content")
    path = await cache.get(it.entry, it.fetch)
    path.unlink()
    user_file = tmp_path / "mine"
    user_file.write_bytes(b"content")
    if kind == "link":
        path.symlink_to(user_file)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (path / "sub").mkdir(parents=True)
    found = await asyncio.wait_for(cache.get(it.entry, it.fetch), 10)
    assert found.is_file()
    assert not found.is_symlink()
    assert found.read_bytes() == b"content"
    assert user_file.read_bytes() == b"content"
    assert (it.served, partial(cache)) == (2, [])


@pytest.mark.parametrize("change", ["rewritten", "removed", "added", "linked", "file instead", "link instead"])
async def test_a_folder_that_was_changed_is_fetched_again_once(cache: Cache, tmp_path: Path, change: str) -> None:
    source = tmp_path / "x.zarr"
    (source / "a").mkdir(parents=True)
    (source / "a" / "b").write_text("1")
    (source / "c").write_text("2")
    entry = Entry("u" * 20, ".zarr", hash_dir(source), True)
    served = 0

    async def fetch(target: Path) -> None:
        nonlocal served
        served += 1
        await asyncio.to_thread(shutil.copytree, source, target)

    path = await cache.get(entry, fetch)
    await cache.get(entry, fetch)
    assert served == 1
    if change == "rewritten":
        (path / "a" / "b").write_text("9")
    elif change == "removed":
        (path / "c").unlink()
    elif change == "added":
        (path / "a" / "d").write_text("")
    elif change == "linked":
        (path / "c").unlink()
        (path / "c").symlink_to(source / "c")
    else:
        shutil.rmtree(path)
        path.write_text("x") if change == "file instead" else path.symlink_to(source)
    for _ in range(2):
        assert await cache.get(entry, fetch) == path
        assert hash_dir(path) == entry.digest
        assert not path.is_symlink()
        assert not (path / "c").is_symlink()
    assert (served, partial(cache)) == (2, [])
    assert hash_dir(source) == entry.digest


def test_the_umask_decides_who_may_read_a_copy(cache: Cache) -> None:
    it = Bytes(b"content")
    modes = {}
    for umask in (0o077, 0o022):
        before = os.umask(umask)
        try:
            path = asyncio.run(Cache(cache.folder / f"{umask}", None).get(it.entry, it.fetch))
        finally:
            os.umask(before)
        modes[umask] = path.stat().st_mode & 0o777
    assert modes == {0o077: 0o400, 0o022: 0o444}


def numbered(number: int, size: int = 1000) -> Bytes:
    return Bytes(bytes([number]) * size)


async def test_the_least_recently_used_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhaul.cache.copies._GRAIN", 0)
    cache = Cache(tmp_path / "cache", 10_000)
    for number in range(8):
        await cache.get(numbered(number).entry, numbered(number).fetch)
    first = numbered(0)
    await cache.get(first.entry, first.fetch)
    assert first.served == 0
    for number in range(8, 20):
        await cache.get(numbered(number).entry, numbered(number).fetch)
        assert sum(path.stat().st_size for path in cache.folder.glob("u*")) <= 10_000
        await cache.get(first.entry, first.fetch)
    assert first.served == 0, "it was asked for all the time"
    assert await cache.has(numbered(1).entry) is None
    assert await cache.has(numbered(19).entry)


async def test_use_is_noted_now_and_then_and_never_in_the_copy(cache: Cache) -> None:
    it = numbered(0)
    path = await cache.get(it.entry, it.fetch)
    note = cache.folder / ".notes" / path.name
    made, noted = path.stat(), note.stat()
    await cache.get(it.entry, it.fetch)
    assert note.stat().st_mtime_ns == noted.st_mtime_ns
    os.utime(note, ns=(0, noted.st_mtime_ns - 61 * 10**9))
    await cache.get(it.entry, it.fetch)
    assert note.stat().st_mtime_ns >= noted.st_mtime_ns
    after = path.stat()  # not its st_atime: the file system decides when to record a read
    # Otherwise a call that hashes the copy at that moment would think that it changes.
    assert (after.st_ino, after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (
        made.st_ino,
        made.st_size,
        made.st_mtime_ns,
        made.st_ctime_ns,
    )
    assert it.served == 1


async def test_what_this_process_uses_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 5000)
    oldest = numbered(0)
    async with cache.use(oldest.entry, oldest.fetch) as path:
        for number in range(1, 20):
            await cache.get(numbered(number).entry, numbered(number).fetch)
        assert path.read_bytes() == oldest.content
    for number in range(1, 20):
        await cache.get(numbered(number).entry, numbered(number).fetch)
    assert not path.exists()


async def test_downloads_at_the_same_time_stay_below_the_limit_together(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    await asyncio.gather(*(cache.get(numbered(number).entry, numbered(number).fetch) for number in range(40)))
    assert 0 < sum(path.stat().st_size for path in cache.folder.glob("u*")) <= 10_000
    assert partial(cache) == []


async def test_what_is_larger_than_the_limit_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    cache, it = Cache(tmp_path / "cache", 100), numbered(1)
    with pytest.raises(StorageFull, match=r"1000 bytes .* limited to 100"):
        await cache.get(it.entry, it.fetch)
    assert it.served == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "disk", "1m") as folder:
        yield folder


async def test_a_full_disk_says_where_and_what_is_needed_and_leaves_nothing(small_disk: Path) -> None:
    cache, it = Cache(small_disk / "cache", None), Bytes(random.Random(1).randbytes(2_000_000))
    with pytest.raises(StorageFull, match="2000000 bytes are needed") as caught:
        await cache.get(it.entry, it.fetch)
    assert str(cache.folder / it.entry.name) in str(caught.value)
    assert (entries(cache), partial(cache)) == ([], [])
    small = Bytes(b"small")
    assert (await cache.get(small.entry, small.fetch)).read_bytes() == b"small"


CHILD = """
import asyncio, fcntl, os, shutil, sys, random
from pathlib import Path
from inhaul.cache import Cache, Entry
from inhaul.hashing import Digest, hash_file

source, folder, log, seed, locks = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
if locks == "without locks":
    fcntl.flock = lambda *_: None
rng = random.Random(seed)
cache = Cache(folder, None)
note = os.open(log, os.O_APPEND | os.O_WRONLY | os.O_CREAT)

async def one(path):
    entry = Entry(path.name.ljust(20, "u"), ".bin", hash_file(path), False)
    async def fetch(target):
        os.write(note, f"{path.name} {os.getpid()}\\n".encode())
        with path.open("rb") as read, target.open("xb") as write:
            while chunk := read.read(1 << 14):
                write.write(chunk)
                await asyncio.sleep(0)
    found = await cache.get(entry, fetch)
    if hash_file(found) != entry.digest:
        print("a partial read", found, flush=True)

async def main():
    paths = sorted(source.iterdir())
    rng.shuffle(paths)
    await asyncio.gather(*map(one, paths))

print("ready", flush=True)
input()
asyncio.run(main())
print("done", flush=True)
"""


@seeds(1, 50)
@pytest.mark.parametrize("locks", ["with locks", "without locks"])
def test_processes_killed_during_a_fetch_leave_whole_copies_to_the_others(
    tmp_path: Path, seed: int, locks: str
) -> None:
    rng = random.Random(f"{seed} {locks}")
    source, log = tmp_path / "source", tmp_path / "log"
    source.mkdir()
    many = "SOAK" in os.environ
    for number in range(20):
        (source / f"o{number:02d}").write_bytes(rng.randbytes(rng.randrange(1, 1 << (22 if many else 20))))
    arguments = [str(source), str(tmp_path / "cache"), str(log), f"{seed}", locks]
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdin=-1, stdout=-1, text=True)
        for _ in range(20 if many else 5)
    ]
    for child in children:
        assert child.stdout and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    killed = rng.sample(children, len(children) // 2)
    for child in killed:
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
    outputs = {child: child.communicate()[0] for child in children}
    assert {outputs[child] for child in children if child not in killed} == {"done\n"}
    assert not [output for output in outputs.values() if "partial" in output]

    cache = Cache(tmp_path / "cache", None)
    assert len(entries(cache)) == 20
    if locks == "with locks":
        dead = {str(child.pid) for child in killed if child.returncode < 0}
        fetched = [line.split() for line in log.read_text().splitlines()]
        gets = Counter(name for name, _ in fetched)
        kills = Counter(name for name, pid in fetched if pid in dead)
        assert all(gets[name] <= 1 + kills[name] for name in gets)
    stale = cache.sweep(datetime.now(UTC), delete=True)
    assert partial(cache) == []
    assert all(not it.path.exists() for it in stale)


def test_only_old_leftovers_whose_lock_is_free_are_swept(cache: Cache) -> None:
    it = Bytes(b"content")
    asyncio.run(cache.get(it.entry, it.fetch))
    folder = cache.folder / ".partial"
    old = (datetime.now(UTC) - 2 * DAY).timestamp()
    dead, running, fresh, tree = (f"{letter * 20}-{'h' * 22}.csv" for letter in "drft")
    number = "0123456789abcdef"
    for name in (f"{dead}.{number}", f"{running}.{number}", f"{running}.lock", f"{fresh}.{number}"):
        (folder / name).write_bytes(b"12345")
        if fresh not in name:
            os.utime(folder / name, (old, old))
    (folder / f"{tree}.{number}").mkdir()
    (folder / f"{tree}.{number}" / "x").write_bytes(b"123")
    os.utime(folder / f"{tree}.{number}", (old, old))
    with (folder / f"{running}.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dry = cache.sweep(datetime.now(UTC) - DAY, delete=False)
        assert {(found.path.name, found.size) for found in dry} == {(f"{dead}.{number}", 5), (f"{tree}.{number}", 3)}
        assert cache.sweep(datetime.now(UTC) - DAY, delete=True) == dry
    assert partial(cache) == sorted([f"{fresh}.{number}", f"{running}.{number}", f"{running}.lock"])
    assert len(entries(cache)) == 1


async def test_what_others_keep_in_the_folder_is_neither_removed_nor_counted(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "documents", 3000)
    own = ["thesis.pdf", "2026-11-28 11.02.jpg", "u" * 20, f"{'u' * 20}-short.csv", ".partial/film.mkv", "photos/a.jpg"]
    own += [
        ".partial/mine.lock",
        ".notes/idea.txt",
        ".partial/scratch-paper.tmp",
        f".partial/{'u' * 20}-{'h' * 22}.csv",
    ]
    for name in own:
        path = cache.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(5000))
        os.utime(path, (0, 0))
    os.utime(cache.folder / "photos", (0, 0))
    for number in range(8):
        await cache.get(numbered(number).entry, numbered(number).fetch)
    assert 1000 < sum(path.stat().st_size for path in cache.folder.glob("u*-*.bin")) <= 3000
    assert await asyncio.to_thread(cache.sweep, datetime.now(UTC) + DAY, delete=True) == []
    assert [name for name in own if not (cache.folder / name).is_file()] == []


def test_notes_of_copies_that_a_user_removed_are_swept(cache: Cache) -> None:
    kept, gone = Bytes(b"kept"), Bytes(b"gone")
    for it in (kept, gone):
        asyncio.run(cache.get(it.entry, it.fetch))
    (cache.folder / gone.entry.name).unlink()
    cache.sweep(datetime.now(UTC), delete=False)
    assert len(list((cache.folder / ".notes").iterdir())) == 2
    cache.sweep(datetime.now(UTC), delete=True)
    assert [note.name for note in (cache.folder / ".notes").iterdir()] == [kept.entry.name]

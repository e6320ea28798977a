"""Folders with faults: each fault is an error or a reported entry, and everything else is ingested."""

import json
import os
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import children
import inhaul
from inhaul import Artifact, Reason, Status
from inhaul.errors import FileChanged, InvalidKey
from registries import artifacts, assert_consistent, assert_holds, digest, seeds
from trees import grow

NAMES = 10_000 if "SOAK" in os.environ else 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def url(root: Path) -> str:
    return f"sqlite:///{root}/.inhaul/registry.db"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five good files, to which each test adds bad ones."""
    grow(tmp_path / "tree", 5)
    return tmp_path / "tree"


WAYS = ("from_dir", "staged", "ingest")
Outcome = tuple[set[tuple[str, Reason]], set[tuple[str, Reason]]]


async def ingested(tree: Path, root: Path, way: str = "ingest") -> Outcome:
    """Returns what an ingest reports as failed and as skipped: names and reasons."""
    async with inhaul.connect(root):
        if way == "ingest":
            report = await inhaul.ingest(tree)
            failed, skipped = report.failed, report.skipped
        else:
            listed = Artifact.from_dir(tree)
            await (await listed if way == "staged" else listed).save()
            failed, skipped = listed.failed, listed.skipped
    for issue in (*failed, *skipped):
        assert isinstance(issue.error, Exception)
        assert issue.path.parent.is_relative_to(tree)
    return (
        {(issue.path.name, issue.reason) for issue in failed},
        {(issue.path.name, issue.reason) for issue in skipped},
    )


# --- the folder itself


async def test_a_missing_folder_is_refused(tmp_path: Path, root: Path) -> None:
    async with inhaul.connect(root):
        for call in (lambda: inhaul.ingest(tmp_path / "no"), lambda: Artifact.from_dir(tmp_path / "no").save()):
            with pytest.raises(FileNotFoundError, match=r"no such folder.*no"):
                await call()
        with pytest.raises(FileNotFoundError):
            await Artifact.from_dir(tmp_path / "no")
    assert not root.exists()


async def test_a_file_instead_of_a_folder_is_refused(tree: Path, root: Path) -> None:
    (tree / "x").write_text("x")
    async with inhaul.connect(root):
        for call in (lambda: inhaul.ingest(tree / "x"), lambda: Artifact.from_dir(tree / "x").save()):
            with pytest.raises(NotADirectoryError, match=r"is a file: pass a folder.*x"):
                await call()
    assert not root.exists()


async def test_an_empty_folder_has_no_artifacts(tmp_path: Path, root: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    assert await ingested(tmp_path / "tree", root) == (set(), set())
    async with inhaul.connect(root):
        saved = await Artifact.from_dir(tmp_path / "tree").save()
        assert (len(saved), list(saved)) == (0, [])
        assert "0 artifacts saved" in repr(saved)
        assert (await inhaul.ingest(tmp_path / "tree")).files == 0


# --- files that cannot be read


UNPRIVILEGED = """
import asyncio, json, sys, inhaul
async def main():
    async with inhaul.connect(sys.argv[1]):
        report = await inhaul.ingest(sys.argv[2])
        failed = sorted([issue.path.name, issue.reason, type(issue.error).__name__] for issue in report.failed)
        print(json.dumps([report.files, failed]))
asyncio.run(main())
"""


async def test_unreadable_files_and_folders_are_reported(tree: Path) -> None:
    """The program runs as another user, because root may read everything."""
    with tempfile.TemporaryDirectory() as name:
        open_to_all = Path(name)
        open_to_all.chmod(0o777)
        shutil.copytree(tree, open_to_all / "tree")
        (open_to_all / "tree" / "secret.csv").write_text("x")
        (open_to_all / "tree" / "closed").mkdir()
        (open_to_all / "tree" / "closed" / "x.csv").write_text("x")
        (open_to_all / "tree" / "secret.csv").chmod(0)
        (open_to_all / "tree" / "closed").chmod(0)
        root = open_to_all / "storage"
        ran = children.run(UNPRIVILEGED, str(root), str(open_to_all / "tree"), wrapper=children.NOBODY)
        (open_to_all / "tree" / "closed").chmod(0o755)
        assert ran.stderr == ""
        _, failed = json.loads(ran.stdout)
        unreadable = [[name, "unreadable", "PermissionError"] for name in ("closed", "secret.csv")]
        assert failed == unreadable
        assert len(await assert_consistent(f"sqlite:///{root}/.inhaul/registry.db", root)) == 5


def test_a_read_that_fails_is_reported(tree: Path, root: Path) -> None:
    (tree / "broken.csv").write_bytes(b"x" * 100)
    inject = (
        *("strace", "-f", "-qq", "-o", os.devnull, "-P", str(tree / "broken.csv")),
        *("-e", "trace=read,pread64,preadv,copy_file_range", "-e", "inject=read,pread64,preadv:error=EIO"),
    )
    ran = children.run(UNPRIVILEGED, str(root), str(tree), wrapper=inject)
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == [6, [["broken.csv", "io_error", "OSError"]]]


async def test_files_that_vanish_are_reported(tmp_path: Path, root: Path, url: str) -> None:
    """Another thread removes files during the ingest, the last ones first."""
    tree = tmp_path / "tree"
    tree.mkdir()
    paths = [tree / f"f{number:05d}" for number in range(4_000)]
    for path in paths:
        path.write_bytes(path.name.encode())

    def remove() -> None:
        for path in reversed(paths[1_000:]):
            path.unlink()

    removing = threading.Thread(target=remove)
    removing.start()
    failed, skipped = await ingested(tree, root)
    removing.join()
    assert {reason for _, reason in failed} <= {Reason.VANISHED}
    assert skipped == set()
    kept = {Path(key).name for key in await assert_consistent(url, root)}
    assert {path.name for path in paths[:1_000]} <= kept
    assert kept.isdisjoint(name for name, _ in failed)


@seeds(2, 50)
@pytest.mark.parametrize("size", [4096, 96 << 20], ids=["small", "in parts"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_file_that_changes_while_it_is_read_is_stored_as_hashed_or_reported(
    tree: Path, root: Path, url: str, way: str, size: int, seed: int
) -> None:
    """Its size and its time stay the same."""
    path = tree / "busy.bin"
    rng = random.Random(seed)
    path.write_bytes(rng.randbytes(size))
    status = path.stat()
    done = threading.Event()

    def rewrite() -> None:
        with path.open("r+b") as file:
            while not done.is_set():
                file.seek(rng.randrange(size))
                file.write(rng.randbytes(1))
                file.flush()
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    rewriting = threading.Thread(target=rewrite)
    rewriting.start()
    try:
        failed, _ = await ingested(tree, root, way)
    finally:
        done.set()
        rewriting.join()
    latest = await assert_consistent(url, root)  # reads every object
    assert failed <= {("busy.bin", Reason.CHANGED)}
    assert len(latest) + len(failed) == 6
    if size > 4096:
        assert failed, "nobody reads 96 MiB between two of these writes"


@pytest.mark.parametrize("same_size", [True, False])
async def test_a_file_that_changed_since_it_was_staged_is_reported(
    tree: Path, root: Path, url: str, same_size: bool
) -> None:
    path = tree / "late.csv"
    path.write_text("before")
    status = path.stat()
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(tree)
        path.write_text("behind" if same_size else "much later")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        await listed.save()
        assert [(issue.path, issue.reason) for issue in listed.failed] == [(path, Reason.CHANGED)]
        assert isinstance(listed.failed[0].error, FileChanged)
        assert len(listed) == 5
        assert +(await inhaul.ingest(tree)).counts == {Status.UNCHANGED: 5, Status.NEW: 1}
    await assert_holds(url, root, tree)


@pytest.mark.parametrize("way", ["folder", "link", "pipe", "nothing"])
async def test_a_staged_file_that_is_none_any_more_is_reported(tree: Path, root: Path, url: str, way: str) -> None:
    path = tree / "late.csv"
    path.write_text("before")
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(tree)
        path.unlink()
        match way:
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("a.csv")
            case "pipe":
                os.mkfifo(path)
        await listed.save()
        reason = Reason.VANISHED if way == "nothing" else Reason.CHANGED
        assert [(issue.path, issue.reason) for issue in listed.failed] == [(path, reason)]
        assert listed.skipped == []
        assert len(listed) == 5
    await assert_consistent(url, root)


# --- links and special files


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def _loop(path: Path) -> None:
    path.symlink_to(path.parent)


def _knot(path: Path) -> None:
    path.symlink_to(path.name)


def _broken(path: Path) -> None:
    path.symlink_to("nothing")


def _out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("make", "reason", "followed"),
    [
        (_fifo, Reason.SPECIAL, Reason.SPECIAL),
        (_socket, Reason.SPECIAL, Reason.SPECIAL),
        (_loop, Reason.SYMLINK, Reason.LOOP),
        (_knot, Reason.SYMLINK, Reason.LOOP),
        (_broken, Reason.SYMLINK, Reason.VANISHED),
        (_out, Reason.SYMLINK, Reason.OUTSIDE),
    ],
)
@pytest.mark.parametrize("way", ["from_dir", "ingest"])
async def test_links_and_special_files_are_told_apart(
    tree: Path, root: Path, url: str, way: str, make: Callable[[Path], None], reason: Reason, followed: Reason
) -> None:
    make(tree / "odd")
    start = time.monotonic()
    assert await ingested(tree, root, way) == (set(), {("odd", reason)})
    async with inhaul.connect(root):
        report = await inhaul.ingest(tree, follow_symlinks=True)
    assert [(issue.path.name, issue.reason) for issue in (*report.failed, *report.skipped)] == [("odd", followed)]
    assert time.monotonic() - start < 5
    await assert_holds(url, root, tree)


# --- names


async def test_names_that_are_not_utf8_are_reported(tree: Path, root: Path, url: str) -> None:
    odd = [b"\xff\xfe.csv", b"caf\xe9.csv", b"\xed\xa0\x80"]
    for name in odd:
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:  # noqa: PTH118, PTH123 - paths of bytes
            file.write(b"x")
    failed, _ = await ingested(tree, root)
    assert failed == {(os.fsdecode(name), Reason.NOT_UTF8) for name in odd}
    assert len(await assert_consistent(url, root)) == 5


ODD = [
    "new\nline.csv",
    "a+b%20c?d#e.csv",
    "%2e%2e",
    "...",
    "..x",
    " space ",
    "tab\t",
    "quote'\"`;--",
    "\u00e9.csv",
    "e\u0301.csv",
    "x" * 255,
    "ü" * 127,
    "\U0001f9ec.fastq.gz",
    "-rf",
    "~",
    "*",
    "\x01\x7f",
    "\u202egnp.exe",
    "CON",
    "a:b",
]


@pytest.mark.parametrize("place", ["copied", "in place"])
async def test_odd_names_come_through(database_url: str, tmp_path: Path, root: Path, place: str) -> None:
    tree = (root if place == "in place" else tmp_path) / "tree"
    tree.mkdir(parents=True)
    for name in ODD:
        (tree / name).write_text(f"content of {name}")
    async with inhaul.connect(root, database_url):
        saved = await Artifact.from_dir(tree).save()
        assert (saved.failed, saved.skipped) == ([], [])
        assert {artifact.key for artifact in saved} == {f"tree/{name}" for name in ODD}
        assert +(await inhaul.ingest(tree)).counts == {Status.UNCHANGED: len(ODD)}
        for name in ODD:
            found = await Artifact.filter(key=f"tree/{name}").one()
            assert (await found.cache()).read_text() == f"content of {name}"
    await assert_holds(database_url, root, tree)


async def test_keys_that_are_too_long_or_hold_backslashes_are_reported(tree: Path, root: Path, url: str) -> None:
    deep = tree / ("a" * 255) / ("b" * 255) / ("c" * 255)
    deep.mkdir(parents=True)
    fits = "d" * (1024 - len(f"tree/{deep.relative_to(tree)}/"))
    for name in (fits, fits + "e"):
        (deep / name).write_text("x")
    (tree / "back\\slash").write_text("x")
    failed, _ = await ingested(tree, root)
    assert failed == {(fits + "e", Reason.INVALID_KEY), ("back\\slash", Reason.INVALID_KEY)}
    assert f"tree/{deep.relative_to(tree)}/{fits}" in await assert_consistent(url, root)


segments = st.one_of(
    st.sampled_from(["..", ".", "", "/", "\\", "\0", "~", ".inhaul", "a", "%2e%2e", "..\\", "C:", "//", "\n"]),
    st.text(max_size=12),
)


@given(st.lists(segments, max_size=6).map("/".join))
@settings(max_examples=NAMES)
def test_no_key_leads_out_of_the_storage(key: str) -> None:
    root = Path("/storage")
    try:
        Artifact.from_dir("tree", key=key)
    except InvalidKey:
        return
    joined = os.path.normpath(root / key / "file")
    assert joined == f"{root}/{key}/file"
    assert joined.startswith("/storage/")
    assert not key.startswith(".inhaul")


@seeds(1, 20)
async def test_random_names_come_through_or_are_refused(tmp_path: Path, root: Path, url: str, seed: int) -> None:
    rng = random.Random(seed)
    tree = tmp_path / "tree"
    tree.mkdir()
    folder = os.fsencode(tree)
    for _ in range(1_000):
        alphabet = rng.choice([bytes(range(1, 256)), b"ab.\\\n~% ", bytes(range(32, 127))])
        name = bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 40))).replace(b"/", b"")
        with suppress(IsADirectoryError), open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 - a path of bytes
            file.write(name)
    failed, skipped = await ingested(tree, root)
    latest = await assert_consistent(url, root)
    names = {os.fsdecode(name) for name in os.listdir(folder)}  # noqa: PTH208 - a path of bytes
    assert {name for name, _ in failed} | {key.removeprefix("tree/") for key in latest} == names
    for name, reason in failed:
        bad = "\\" in name or name == ".inhaul"
        raw = any("\udc80" <= character <= "\udcff" for character in name)
        assert reason in {Reason.INVALID_KEY if bad else None, Reason.NOT_UTF8 if raw else None}, name
    assert skipped == set()
    for key, row in latest.items():
        assert digest(tree / key.removeprefix("tree/"))[1] == row["hash"]


async def test_a_folder_given_through_a_link_is_copied_into_the_storage(
    tmp_path: Path, root: Path, tree: Path, url: str
) -> None:
    """The keys have the name of the link, and the storage gets the bytes."""
    (tmp_path / "alias").symlink_to(tree)
    async with inhaul.connect(root):
        saved = await Artifact.from_dir(tmp_path / "alias").save()
    assert all((artifact.key or "").startswith("alias/") for artifact in saved)
    assert len(await artifacts(url)) == 5
    await assert_consistent(url, root)

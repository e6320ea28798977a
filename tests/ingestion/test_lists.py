import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inhaul
import inhaul.sync
from inhaul import Artifact, IngestEvent, Reason, Status
from inhaul.errors import InvalidKey, UnsupportedStorage
from inhaul.ingestion.path_list import GivenPaths, ListScan, parts_of
from inhaul.ingestion.scan import PathList
from lists import counts, failed, ingest, keys, skipped, table
from registries import artifacts, assert_consistent, digest, query
from scans import rows, scanner
from trees import grow, text_file, write

pytestmark = pytest.mark.usefixtures("no_power_fails")

KINDS = ["list", "tuple", "set", "generator", "async generator"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


def as_kind(kind: str, items: Iterable[Any]) -> Any:
    async def each() -> AsyncIterator[Any]:
        for item in items:
            yield item
            await asyncio.sleep(0)

    made = {"list": list, "tuple": tuple, "set": set, "generator": iter}
    return made[kind](items) if kind in made else each()


# --- the same as a folder


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_of_all_files_gives_the_rows_of_the_folder(
    database_url: str, root: Path, tree: Path, kind: str
) -> None:
    grow(tree, 40)
    (tree / "link").symlink_to("d00")
    names = [path.relative_to(tree) for path in tree.rglob("*")]
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=as_kind(kind, names))
        assert counts(report) == {Status.NEW: 40}
        assert not report.failed
        again = await inhaul.ingest(tree)
        assert again.counts[Status.UNCHANGED] == 40
        assert again.files == 40
    await assert_consistent(database_url, root)
    assert await keys(database_url) == {
        f"tree/{path.relative_to(tree)}": digest(path) for path in tree.rglob("*") if path.is_file()
    }
    assert skipped(report)["link"] == Reason.SYMLINK
    assert skipped(report)["d00"] == Reason.SPECIAL


async def test_a_list_in_a_storage_copies_nothing(database_url: str, root: Path) -> None:
    grow(root / "plates", 20)
    files = [path for path in root.rglob("f*") if path.is_file()]
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(root / "plates", paths=files)
        assert counts(report) == {Status.NEW: 20}
        folder = await inhaul.ingest(root / "plates")
        assert folder.counts[Status.UNCHANGED] == 20
        other = await inhaul.ingest(root / "plates", paths=[(files[0], "another"), ("/etc/hostname", "hostname")])
    assert set(failed(other).values()) == {Reason.INVALID_KEY}
    assert len(other.failed) == 2
    found = await query(database_url, "SELECT key, object_key FROM artifact")
    assert {row["key"] for row in found} == {str(path.relative_to(root)) for path in files}
    assert all(row["key"] == row["object_key"] for row in found)


@settings(max_examples=20)
@given(st.data())
def test_random_lists_give_the_rows_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = st.text(st.characters(exclude_characters="/\0\\", exclude_categories=["Cs"]), min_size=1, max_size=8)
    name = name.filter(lambda one: one not in (".", "..", ".inhaul", ".inhaulignore"))
    files = data.draw(st.dictionaries(st.tuples(name, name), st.binary(max_size=3), max_size=12))
    top = tmp_path_factory.mktemp("random")
    tree = top / "tree"
    tree.mkdir()
    for (folder, file), content in files.items():
        write(tree / f"d{folder}" / file, content)
    named = [path for path in tree.rglob("*") if path.is_file()]
    spelled: list[Any] = [
        data.draw(st.sampled_from([path, str(path.relative_to(tree)), f"./{path.parent.name}//{path.name}"]))
        for path in named
    ]
    listed = data.draw(st.permutations(spelled + spelled[:2]))

    async def work() -> tuple[Any, Any]:
        async with inhaul.connect(top / "one", f"sqlite:///{top / 'one.db'}"):
            report = await inhaul.ingest(tree, paths=listed)
            assert (report.failed, report.skipped, report.files) == ([], [], len(named))
        async with inhaul.connect(top / "two", f"sqlite:///{top / 'two.db'}"):
            await inhaul.ingest(tree)
        return await keys(f"sqlite:///{top / 'one.db'}"), await keys(f"sqlite:///{top / 'two.db'}")

    listed_keys, walked_keys = asyncio.run(work())
    assert listed_keys == walked_keys


# --- keys


async def test_without_a_folder_keys_are_relative_to_the_working_folder(
    database_url: str, root: Path, tree: Path
) -> None:
    text_file(tree, "a.csv")
    text_file(tree / "b", "c")
    async with inhaul.connect(root, database_url):
        await inhaul.ingest(paths=["tree/a.csv", "tree/b/../b/./c", tree / "a.csv"])
        assert set(await keys(database_url)) == {"tree/a.csv", "tree/b/c"}
        await inhaul.ingest(paths=["tree/a.csv"], key="k")
        await inhaul.ingest(tree, "of", paths=["a.csv"])
    assert set(await keys(database_url)) == {"tree/a.csv", "tree/b/c", "k/tree/a.csv", "of/a.csv"}


async def test_a_pair_has_the_whole_key(database_url: str, root: Path, tree: Path) -> None:
    inside, outside = text_file(tree, "a.csv"), text_file(tree.parent / "else", "b.csv")
    async with inhaul.connect(root, database_url):
        pairs = [(inside, "x/1.csv"), ("a.csv", "x/2.csv"), (outside, "x/3.CSV"), "a.csv"]
        report = await inhaul.ingest(tree, "prefix", paths=pairs)
        assert counts(report) == {Status.NEW: 4}
        artifact = await Artifact.filter(key="x/3.CSV").one()
        assert artifact.suffix == ".csv"
    await assert_consistent(database_url, root)
    expected = {"x/1.csv": inside, "x/2.csv": inside, "x/3.CSV": outside, "prefix/a.csv": inside}
    assert await keys(database_url) == {key: digest(path) for key, path in expected.items()}


async def test_pairs_are_looked_up_before_they_are_read(database_url: str, root: Path, tree: Path) -> None:
    a, b = text_file(tree, "a"), text_file(tree, "b")
    async with inhaul.connect(root, database_url):
        await inhaul.ingest(tree, paths=[(a, "k/a"), (b, "k/b")])
        write(a, "changed")
        report = await inhaul.ingest(tree, paths=[(a, "k/a"), (b, "k/b")])
        assert counts(report) == {Status.NEW_VERSION: 1, Status.UNCHANGED: 1}
    await assert_consistent(database_url, root)
    assert await keys(database_url) == {"k/a": digest(a), "k/b": digest(b)}


async def test_no_key_escapes(database_url: str, root: Path, tree: Path) -> None:
    text_file(tree.parent, "outside.csv")
    text_file(tree, "a.csv")
    (tree / "up").symlink_to("..")
    given = ["../outside.csv", tree.parent / "outside.csv", "up/outside.csv", "up/../outside.csv"]
    odd = ["/a.csv", "../a.csv", "a/../b.csv", "a//b.csv", ".inhaul/a.csv", "a\\b.csv", "a.txt", "a\0.csv", "\ud800"]
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=[*given, *(("a.csv", key) for key in odd)])
    assert report.files == len(report.failed) == len(given) + len(odd) - 1
    assert {issue.reason for issue in report.failed} == {Reason.INVALID_KEY, Reason.INVALID_ENTRY}
    assert skipped(report) == {"outside.csv": Reason.SYMLINK}
    assert await keys(database_url) == {}


async def test_a_key_given_twice_is_refused_before_anything_is_written(
    database_url: str, root: Path, tree: Path
) -> None:
    a, b = text_file(tree, "a"), text_file(tree, "b")
    async with inhaul.connect(root, database_url):
        with pytest.raises(InvalidKey, match='b: another path of the list has the key "k", too'):
            await inhaul.ingest(tree, paths=[(a, "k"), (b, "k")])
        with pytest.raises(UnsupportedStorage, match="s3://bucket/a: this is an address"):
            await inhaul.ingest(tree, paths=[a, "s3://bucket/a"])
        assert await artifacts(database_url) == []
        assert not (root / ".inhaul").exists()
        report = await inhaul.ingest(tree, paths=iter([(a, "k"), (b, "k"), "s3://bucket/a", (a, "k"), b]))
    assert counts(report) == {Status.NEW: 2}
    assert {issue.reason for issue in report.failed} == {Reason.CONFLICT, Reason.INVALID_ENTRY}
    assert await keys(database_url) == {"k": digest(a), "tree/b": digest(b)}


async def test_a_path_listed_twice_counts_once(database_url: str, root: Path, tree: Path) -> None:
    path = text_file(tree, "a")
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=[path, "a", "./a", f"{tree}//a", (path, "tree/a")] * 5000)
        assert counts(report) == {Status.NEW: 1}
        assert (report.files, report.failed, report.skipped) == (1, [], [])


# --- what is no file


async def test_missing_files_folders_links_and_specials(database_url: str, root: Path, tree: Path) -> None:
    text_file(tree / "d", "a")
    (tree / "link").symlink_to("d/a")
    (tree / "out").symlink_to("/etc/hostname")
    (tree / "broken").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    text_file(tree / ".inhaul", "own")
    listed = ["d/a", "d", "d/", ".", "link", "out", "broken", "pipe", "gone", "gone/too", "d/a/below", ".inhaul/own"]
    listed.append("")
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=listed)
        assert counts(report) == {Status.NEW: 1}
        vanished = dict.fromkeys(["gone", "too", "below"], Reason.VANISHED)
        assert failed(report) == vanished | {"tree": Reason.INVALID_ENTRY}
        links = dict.fromkeys(["link", "out", "broken"], Reason.SYMLINK)
        special = dict.fromkeys(["d", "tree", "pipe"], Reason.SPECIAL)
        assert skipped(report) == links | special
        followed = await inhaul.ingest(tree, paths=listed, follow_symlinks=True)
        assert counts(followed) == {Status.NEW: 1, Status.UNCHANGED: 1}
        assert skipped(followed)["out"] == Reason.OUTSIDE
        anywhere = await inhaul.ingest(tree, paths=[*listed, ("/proc/self/exe", "me")], follow_symlinks="anywhere")
        assert anywhere.counts[Status.NEW] == 2
    assert await keys(database_url) == {
        "tree/d/a": digest(tree / "d/a"),
        "tree/link": digest(tree / "d/a"),
        "tree/out": digest(Path("/etc/hostname")),
        "me": digest(Path("/proc/self/exe")),
    }


async def test_names_that_are_not_utf8_and_patterns(database_url: str, root: Path, tree: Path) -> None:
    for name in (b"\xff", b"a.tmp", b"keep/b", b"out/c"):
        path = Path(os.fsdecode(os.fsencode(tree) + b"/" + name))
        write(path, "x")
    listed = [path for path in tree.rglob("*") if path.is_file()]
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=listed, exclude=["*.tmp", "out/"])
    assert [issue.reason for issue in report.failed] == [Reason.NOT_UTF8]
    assert set(await keys(database_url)) == {"tree/keep/b"}


async def test_files_of_another_storage_are_left_out(database_url: str, root: Path, tree: Path) -> None:
    text_file(root, "a")
    text_file(tree, "b")
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree.parent, paths=["storage/a", (root / "a", "k"), "tree/b"])
    assert counts(report) == {Status.NEW: 1}
    assert [issue.reason for issue in report.skipped] == [Reason.STORAGE] * 2


@pytest.mark.parametrize("paths", [5, b"a", {"a": "b"}, [b"a"], [("a", 1)], [("a", "b", "c")], [None]])
async def test_what_lists_nothing_is_refused(root: Path, tree: Path, database_url: str, paths: Any) -> None:
    async with inhaul.connect(root, database_url):
        with pytest.raises(TypeError, match="paths"):
            await inhaul.ingest(tree, paths=paths)
        with pytest.raises(TypeError, match="folder"):
            await inhaul.ingest()


async def test_a_list_lies_on_this_machine(root: Path, database_url: str) -> None:
    async with inhaul.connect(root, database_url):
        with pytest.raises(UnsupportedStorage, match="download it"):
            await inhaul.ingest(paths="s3://bucket/list.csv")


# --- streams


async def test_an_error_of_the_iterator_ends_the_ingest(database_url: str, root: Path, tree: Path) -> None:
    for number in range(3):
        text_file(tree, f"{number}")

    def broken() -> Iterator[Path]:
        yield from tree.iterdir()
        raise RuntimeError("the cable is out")

    async with inhaul.connect(root, database_url):
        with pytest.raises(RuntimeError, match="the cable is out"):
            await inhaul.ingest(tree, paths=broken())
        report = await inhaul.ingest(tree, paths=list(tree.iterdir()))
        assert report.files == 3
    await assert_consistent(database_url, root)


async def test_a_slow_stream_is_stored_while_it_goes_on(database_url: str, root: Path, tree: Path) -> None:
    a, b = text_file(tree, "a"), text_file(tree, "b")
    stored = asyncio.Event()
    events: list[IngestEvent] = []

    def tell(event: IngestEvent) -> None:
        events.append(event)
        stored.set()

    async def slow() -> AsyncIterator[Path]:
        yield a
        await asyncio.sleep(0.6)
        yield b
        await stored.wait()
        yield tree / "gone"

    async with inhaul.connect(root, database_url):
        await asyncio.wait_for(inhaul.ingest(tree, paths=slow(), on_event=tell), 30)
    assert [(event.files, event.walked) for event in events] == [(2, False), (3, True)]


async def test_a_stream_is_read_no_further_than_needed(tree: Path) -> None:
    """A scanner whose batches nobody takes must not read the list to its end."""
    file = text_file(tree, "a")
    pulled = 0

    def endless() -> Iterator[tuple[Path, str]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield file, f"k{pulled}"

    def make_list() -> PathList:
        options: dict[str, Any] = {"exclude": [], "ignore_files": False, "follow_symlinks": False, "storages": []}
        return PathList(tree, key_prefix="", in_place=False, salt=b"salt", **options)

    given = GivenPaths(parts_of(endless()), [])
    async with ListScan.of(given, make_list, lambda: scanner(tree, walk=False)) as scan:

        async def submit() -> None:
            async for listing in scan.listings():
                await scan.submit(listing, [])

        submitting = asyncio.create_task(submit())
        before = -1
        while before != pulled:
            before = pulled
            await asyncio.sleep(1)
        assert pulled <= 8 * 8192
        batch = await anext(scan.batches())
        submitting.cancel()
    assert len(rows([batch])) == len(batch) > 0


def test_the_twin_takes_a_generator_that_makes_blocking_calls(root: Path, tree: Path, tmp_path: Path) -> None:
    text_file(tree, "a")
    text_file(tree, "b")
    with inhaul.sync.connect(root, f"sqlite:///{tmp_path / 'r.db'}"):
        known = (str(count) for count in [inhaul.sync.Artifact.filter().count()])
        assert list(known) == ["0"]
        report = inhaul.sync.ingest(
            tree, paths=(name for name in ("a", "b") if not inhaul.sync.Artifact.filter(key=name).count())
        )
        assert counts(report) == {Status.NEW: 2}


async def test_cancelling_does_not_wait_for_input(database_url: str, root: Path, tree: Path) -> None:
    text_file(tree, "a")
    reading, writing = os.pipe()

    def waiting() -> Iterator[str]:
        yield "a"
        os.read(reading, 1)

    async with inhaul.connect(root, database_url):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inhaul.ingest(tree, paths=waiting()), 1)
        os.write(writing, b"x")
        report = await inhaul.ingest(tree, paths=["a"])
        assert report.files == 1
    await assert_consistent(database_url, root)
    os.close(writing)


# --- repeated


async def test_of_equal_contents_one_is_kept(database_url: str, root: Path, tree: Path) -> None:
    for name in ("a", "b", "c"):
        write(tree / name, "same")
    write(tree / "d", "other")
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, paths=iter("cbad"), duplicates="drop")
        assert counts(report) == {Status.NEW: 2}
    await assert_consistent(database_url, root)
    assert set((await keys(database_url)).values()) == {digest(tree / "a"), digest(tree / "d")}


async def test_an_interrupted_ingest_is_repeated(database_url: str, root: Path, tree: Path) -> None:
    listed: list[Any] = []
    for number in range(300):
        path = write(tree / f"{number}", f"{number}")
        listed.append(path if number % 3 else (path, f"k/{number}"))
    random.Random(0).shuffle(listed)

    class Stopped(Exception):
        pass

    def stop(_: IngestEvent) -> None:
        raise Stopped

    def cut() -> Iterator[Any]:
        yield from listed[:200]
        raise Stopped

    async with inhaul.connect(root, database_url):
        with pytest.raises(Stopped):
            await inhaul.ingest(tree, paths=cut())
        assert list((root / ".inhaul" / "sessions").glob("*.json"))
        await inhaul.ingest(tree)  # does not continue the session of the list
        assert list((root / ".inhaul" / "sessions").glob("*.json"))
        with pytest.raises(Stopped):
            await inhaul.ingest(tree, paths=listed, on_event=stop)
        report = await inhaul.ingest(tree, paths=listed)
        assert report.files == 300
        assert not report.failed
        assert not list((root / ".inhaul" / "sessions").glob("*.json"))
    await assert_consistent(database_url, root)
    expected = {f"tree/{number}" for number in range(300)} | {f"k/{number}" for number in range(0, 300, 3)}
    assert set(await keys(database_url)) == expected


# --- the command line


def test_find_gives_a_valid_list(tmp_path: Path) -> None:
    grow(tmp_path / "tree", 30)
    (tmp_path / "tree" / "odd\nname").write_text("odd")
    found = subprocess.run(["find", "tree", "-print0"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    first = ingest(tmp_path, "--from0", "-", given=found)
    assert ["new", "31"] in table(first)
    assert ["failed", "0"] in table(first)
    assert ["unchanged", "31"] in table(ingest(tmp_path, "tree"))


def test_a_file_lists_a_path_in_each_line(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        text_file(tmp_path / "tree", name)
    (tmp_path / "list").write_text("a\n\nb\ngone")

    first = ingest(tmp_path, "tree", "--from", "list")
    assert first.returncode == 3
    assert "vanished" in first.stderr
    second = ingest(tmp_path, "--from", "-", given="tree/a\ntree/c\n")
    assert (second.returncode, second.stderr) == (0, "")
    assert ["new", "1"] in table(second)
    assert ["unchanged", "1"] in table(second)


@pytest.mark.parametrize(
    "arguments", [["--from", "list", "--from0", "list"], ["--from", "missing"], ["--manifest", "list"], []]
)
def test_wrong_lists_end_the_command(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "list").write_text("a\n")
    done = ingest(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".inhaul").exists()

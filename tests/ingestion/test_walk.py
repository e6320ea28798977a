"""What the walk finds, in which order, and what it reports instead."""

import errno
import json
import os
import random
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from children import NOBODY, run
from inhaul import keys
from inhaul._core import Root
from scans import drain, fill, issues, md5, object_bytes, rows, scanner
from trees import open_to_all

NAMES = st.text(st.sampled_from("aA-./0~é \n"), min_size=1, max_size=6).filter(
    lambda name: not {"", ".", ".."} & set(name.split("/"))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(names=st.sets(NAMES, max_size=30))
def test_order_is_that_of_whole_paths_as_bytes(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tmp_path_factory.mktemp("root")
    kept = set()
    for name in sorted(names):
        path = root / name
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            fill(root, {name: name.encode()})
            kept.add(name)
    batches = drain(scanner(root))
    assert [row[1] for row in rows(batches)] == sorted(kept, key=str.encode)
    assert [row[8] for row in rows(batches)] == [md5(name.encode()) for name in sorted(kept, key=str.encode)]


def test_a_large_tree_in_order_with_every_file_once(root: Path) -> None:
    generator = random.Random(3)
    names = set()
    for n in range(20_000):
        depth = generator.randrange(4)
        names.add("/".join([*(f"d{generator.randrange(9)}" for _ in range(depth)), f"f{n}"]))
    for folder in {name.rpartition("/")[0] for name in names}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(name.encode() * 3)
    scan = scanner(root, key_prefix="prefix/")
    batches = drain(scan)
    assert scan.found == (20_000, True)
    assert [row[1] for row in rows(batches)] == sorted((f"prefix/{name}" for name in names), key=str.encode)
    assert all(row[8] == md5(row[1].removeprefix("prefix/").encode() * 3) for row in rows(batches))
    assert all(len(batch) <= 8192 for batch in batches)
    assert sum(batch.nbytes for batch in batches) == sum(3 * len(name) for name in names)
    uids = [row[3] for row in rows(batches)]
    assert len(set(uids)) == 20_000
    assert len({uid[:6] for uid in uids}) < 20  # the uids of a listing lie side by side


def test_a_row_has_the_fields_of_its_file(root: Path) -> None:
    fill(root, {"a/b.CSV": b"x"})
    (batch,) = drain(scanner(root, key_prefix="key"))
    (row,) = rows([batch])
    uid = row[3]
    assert row == (
        str(root / "a/b.CSV"), "key/a/b.CSV", "new", uid, keys.object_key(uid, "", ".csv"), ".csv", "DataFrame",
        1, md5(b"x"), "md5", None, "local",
    )  # fmt: skip
    inserted = [uid, row[1], row[4], ".csv", "DataFrame", "1", md5(b"x"), "md5"]
    assert json.loads(batch.rows_json({})) == [[*inserted, None, "local"]]
    assert json.loads(batch.rows_json({uid: "2"})) == [[*inserted, "2", "local"]]
    assert batch.rows_packed({uid: "2"}) == (b"", 1, [(text, 0, False) for text in [*inserted, "2", "local"]])
    assert json.loads(batch.keys_json()) == ["key/a/b.CSV"]
    assert batch.counts == {"new": 1, "new_version": 0, "unchanged": 0}
    with pytest.raises(IndexError):
        batch.row(1)


def test_rows_are_packed_by_column(root: Path) -> None:
    fill(root, {"a.csv": b"x", "bc": b"y" * 100})
    (batch,) = drain(scanner(root, key_prefix="key"))
    (uid, a), (other, bc) = ((row[3], row[4]) for row in rows([batch]))
    packed, count, columns = batch.rows_packed({other: "2"})
    assert count == 2
    assert columns == [
        (None, 20, False), (None, 9, True), (None, len(a), True), (None, 4, True), (None, 9, True), (None, 3, True),
        (None, 22, False), ("md5", 0, False), (None, 1, True), ("local", 0, False),
    ]  # fmt: skip
    first = f"{uid}key/a.csv{a}.csvDataFrame1//{md5(b'x')}/"
    second = f"{other}key/bc///{bc.ljust(len(a), '/')}/////////////100{md5(b'y' * 100)}2"
    assert packed.decode() == first + second


def test_in_place_objects_are_the_files(root: Path) -> None:
    fill(root, {"a": b"x"})
    (row,) = rows(drain(scanner(root, key_prefix="folder", in_place=True)))
    assert row[4] == row[1] == "folder/a"


def test_uids_follow_from_the_salt(root: Path) -> None:
    fill(root, {"a": b"x", "b/c": b"y"})
    first, same, other = (
        [row[3] for row in rows(drain(scanner(root, salt=salt)))] for salt in (b"one", b"one", b"two")
    )
    assert first == same
    assert not set(first) & set(other)
    fill(root, {"a": b"changed"})
    assert [row[3] for row in rows(drain(scanner(root, salt=b"one")))] == first


def test_empty_folders_have_no_rows(root: Path) -> None:
    assert drain(scanner(root)) == []
    (root / "a/b").mkdir(parents=True)
    scan = scanner(root)
    assert drain(scan) == []
    assert scan.found == (0, True)


def test_wrong_roots_and_options_are_refused(root: Path) -> None:
    fill(root, {"file": b""})
    with pytest.raises(FileNotFoundError, match="missing"):
        scanner(root / "missing")
    with pytest.raises(NotADirectoryError, match="file"):
        scanner(root / "file")
    with pytest.raises(FileNotFoundError, match="missing"):
        scanner(root, destination=root / "missing")
    with pytest.raises(ValueError, match=r"\.\."):
        scanner(root, key_prefix="../up")
    with pytest.raises(ValueError, match="exclude"):
        scanner(root, exclude=["a{b"])


def test_ignore_files_count_at_every_level(root: Path) -> None:
    names = [
        "keep",
        "x.log",
        "deep/x.log",
        "deep/keep.log",
        "build/x",
        "deep/build/x",
        "sub/only",
        "sub/not",
        ".inhaul/x",
    ]
    fill(root, dict.fromkeys(names, b""))
    fill(
        root,
        {
            ".inhaulignore": b"# logs\n*.log\n/build/\n",
            "deep/.inhaulignore": b"!keep.log\n",
            "sub/.inhaulignore": b"not\n",
        },
    )
    assert {row[1] for row in rows(drain(scanner(root)))} == {
        ".inhaulignore", "keep", "deep/.inhaulignore", "deep/keep.log", "deep/build/x", "sub/.inhaulignore", "sub/only",
    }  # fmt: skip
    assert {row[1] for row in rows(drain(scanner(root, exclude=["deep", "sub", ".inhaulignore"])))} == {"keep"}


def test_a_wrong_line_of_an_ignore_file_is_reported(root: Path) -> None:
    fill(root, {".inhaulignore": b"a{b\n*.log\n", "x.log": b"", "keep": b""})
    batches = drain(scanner(root))
    assert issues(batches) == {str(root / ".inhaulignore"): "unreadable"}
    assert [row[1] for row in rows(batches)] == [".inhaulignore", "keep"]


def test_links_are_skipped_or_followed_within_the_root(root: Path, tmp_path: Path) -> None:
    fill(root, {"a/b": b"b", "c": b"c"})
    fill(tmp_path, {"outside": b"o"})
    targets: dict[str, str | Path] = {
        "file": "c",
        "folder": "a",
        "broken": "nowhere",
        "out": tmp_path / "outside",
        "up": tmp_path,
    }
    targets |= {"loop": ".", "a/back": "..", "one": "two", "two": "one", "a/here": "../a"}
    for name, target in targets.items():
        (root / name).symlink_to(target)

    started = time.monotonic()
    batches = drain(scanner(root))
    assert issues(batches) == {str(root / name): "symlink" for name in targets}
    assert [row[1] for row in rows(batches)] == ["a/b", "c"]

    batches = drain(scanner(root, follow_symlinks=True))
    assert [(row[1], row[8]) for row in rows(batches)] == [
        ("a/b", md5(b"b")), ("c", md5(b"c")), ("file", md5(b"c")), ("folder/b", md5(b"b")),
    ]  # fmt: skip
    reasons = {"broken": "vanished", "out": "outside", "up": "outside", "loop": "loop", "one": "loop", "two": "loop"}
    reasons |= {"a/back": "loop", "a/here": "loop", "folder/back": "loop", "folder/here": "loop"}
    assert issues(batches) == {str(root / name): reason for name, reason in reasons.items()}
    assert time.monotonic() - started < 1


def test_links_are_followed_anywhere_by_their_own_names(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    fill(root, {"a/b": b"b", ".inhaulignore": b"left\n"})
    fill(other, {"blob": b"o", "deep/c": b"c", "deep/left": b"", ".inhaul/registry.db": b"r", "deep/.inhaul/x": b"x"})
    os.mkfifo(other / "pipe")
    targets: dict[str, str | Path] = {
        "file": "../other/blob",
        "same": other / "blob",
        "chain": "file",
        "chain2": other / "back",
        "folder": other / "deep",
        "inside": "a",
        "left": other / "blob",
        "own": other / ".inhaul",
        "gone": other / "nowhere",
        "pipe": other / "pipe",
        "null": "/dev/null",
        "up": tmp_path,
        "top": "/",
        "self": ".",
        "one": "two",
        "two": "one",
        "a/up": "..",
    }
    for name, target in targets.items():
        (root / name).symlink_to(target)
    (other / "back").symlink_to("../root/same")
    (other / "deep/root").symlink_to(root)  # which the walk has come from
    (other / "deep/around").symlink_to("../deep")

    batches = drain(scanner(root, follow_symlinks="anywhere"))
    assert [(row[1], row[8]) for row in rows(batches)] == [
        (".inhaulignore", md5(b"left\n")), ("a/b", md5(b"b")), ("chain", md5(b"o")), ("chain2", md5(b"o")),
        ("file", md5(b"o")), ("folder/c", md5(b"c")), ("inside/b", md5(b"b")), ("same", md5(b"o")),
    ]  # fmt: skip
    reasons = dict.fromkeys(("up", "top", "self", "one", "two", "a/up", "inside/up"), "loop")
    reasons |= {
        "folder/root": "loop",
        "folder/around": "loop",
        "gone": "vanished",
        "pipe": "special",
        "null": "special",
    }
    assert issues(batches) == {str(root / name): reason for name, reason in reasons.items()}
    with pytest.raises(ValueError, match="nowhere"):
        scanner(root, follow_symlinks="nowhere")


def test_links_in_a_part_of_a_storage_may_lead_to_all_of_it(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    fill(storage, {"blobs/0a": b"a", "blobs/d/0b": b"b", "snap/c": b"c"})
    fill(tmp_path, {"outside/o": b"o"})
    targets = {"a": "../blobs/0a", "d": storage / "blobs/d", "o": "../../outside/o", "out": tmp_path, "up": ".."}
    for name, target in targets.items():
        (storage / "snap" / name).symlink_to(target)
    batches = drain(scanner(Root(storage).part("snap"), key_prefix="snap", in_place=True, follow_symlinks=True))
    assert [(row[1], row[8]) for row in rows(batches)] == [
        ("snap/a", md5(b"a")), ("snap/c", md5(b"c")), ("snap/d/0b", md5(b"b")),
    ]  # fmt: skip
    reasons = {"o": "outside", "out": "outside", "up": "loop"}
    assert issues(batches) == {str(storage / "snap" / name): reason for name, reason in reasons.items()}
    assert all(f"outside of {storage}" in message for *_, message, _ in batches[0].issues if "outside/o" in message)


@pytest.mark.parametrize("change", ["vanishes", "becomes a pipe", "becomes a folder", "changes"])
def test_a_target_that_changes_after_the_walk_is_read_or_reported(root: Path, tmp_path: Path, change: str) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"x")
    (root / "link").symlink_to(blob)
    scan = scanner(root, follow_symlinks="anywhere")
    listing = scan.next_listing()
    assert listing
    blob.unlink()
    if change == "becomes a pipe":
        os.mkfifo(blob)
    elif change == "becomes a folder":
        blob.mkdir()
    elif change == "changes":
        blob.write_bytes(b"now")
    scan.submit(listing, [])
    batches = drain(scan)
    if change == "changes":
        assert [row[8] for row in rows(batches)] == [md5(b"now")]
    else:
        assert (rows(batches), issues(batches)) == (
            [], {str(root / "link"): "vanished" if change == "vanishes" else "special"}
        )  # fmt: skip


def test_specials_are_never_opened(root: Path) -> None:
    fill(root, {"file": b"x"})
    os.mkfifo(root / "pipe")
    os.mknod(root / "null", 0o600 | 0o020000, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
        batches = drain(scanner(root))
    assert issues(batches) == {str(root / name): "special" for name in ("pipe", "null", "socket")}
    assert [row[1] for row in rows(batches)] == ["file"]


def test_odd_names_are_kept_or_reported(root: Path, store: Path) -> None:
    good = ["new\nline", 'quote"', "tab\t", "ü", "u\u0308", " ", "~", "-rf", "a" * 255, "+%?#", "\x01\x7f"]
    fill(root, {name: name.encode() for name in good})
    for name in (b"latin\xe9", b"folder\xff/file"):
        fill(root, {os.fsdecode(name): name})
    fill(root, {"back\\slash": b""})
    long = root
    for _ in range(5):
        long /= "d" * 250
        long.mkdir()
        (long / "file").write_bytes(b"")

    batches = drain(scanner(root, destination=store))
    found = {row[1]: row for row in rows(batches)}
    deep = ["/".join(["d" * 250] * depth) + "/file" for depth in range(1, 5)]
    assert set(found) == {*good, *deep}
    assert all(object_bytes(store, found[name]) == name.encode() for name in good)
    assert all(Path(row[0]).exists() for row in found.values())
    assert issues(batches) == {
        str(root) + "/latin\udce9": "not_utf8",
        str(root) + "/folder\udcff/file": "not_utf8",
        str(root / "back\\slash"): "invalid_key",
        str(long / "file"): "invalid_key",
    }


def test_a_root_that_is_not_utf8_is_walked(tmp_path: Path) -> None:
    root = tmp_path / "\udcff"
    fill(root, {"file": b"x"})
    (row,) = rows(drain(scanner(os.fsencode(root))))
    assert row[0] == str(root / "file")
    assert row[1] == "file"


def test_files_that_vanish_after_the_walk_are_reported(root: Path) -> None:
    fill(root, {f"{n:03}": b"x" for n in range(200)} | {"folder/a": b"x", "folder/b": b"x"})
    scan = scanner(root)
    listing = scan.next_listing()
    assert listing
    gone = [root / f"{n:03}" for n in range(0, 200, 7)] + [root / "folder/a", root / "folder/b"]
    for path in gone:
        path.unlink()
    (root / "folder").rmdir()
    scan.submit(listing, [])
    batches = drain(scan)
    assert issues(batches) == {str(path): "vanished" for path in gone}
    assert len(rows(batches)) == 202 - len(gone)
    assert {number for batch in batches for *_, number in batch.issues} == {errno.ENOENT}


def test_a_link_that_takes_a_files_place_is_not_followed(root: Path, tmp_path: Path) -> None:
    fill(root, {"file": b"x"})
    fill(tmp_path, {"secret": b"s"})
    scan = scanner(root)
    listing = scan.next_listing()
    assert listing
    (root / "file").unlink()
    (root / "file").symlink_to(tmp_path / "secret")
    scan.submit(listing, [])
    batches = drain(scan)
    assert (rows(batches), issues(batches)) == ([], {str(root / "file"): "symlink"})


def test_a_link_that_takes_a_folders_place_is_not_followed(root: Path, tmp_path: Path) -> None:
    fill(root, {"a/b/file": b"x"})
    fill(tmp_path, {"secret/b/file": b"s"})
    scan = scanner(root)
    listing = scan.next_listing()
    assert listing
    (root / "a").rename(tmp_path / "moved")
    (root / "a").symlink_to(tmp_path / "secret")
    scan.submit(listing, [])
    batches = drain(scan)
    assert (rows(batches), issues(batches)) == ([], {str(root / "a/b/file"): "symlink"})


def test_unreadable_files_and_folders_are_reported(root: Path) -> None:
    fill(root, {"good": b"g", "bad": b"b", "closed/file": b"c", "listed/file": b"l"})
    (root / "bad").chmod(0)
    (root / "closed").chmod(0)
    (root / "listed").chmod(0o744)
    open_to_all(root)
    script = """
import json, sys
from inhaul._core import Scanner
scan = Scanner(sys.argv[1], key_prefix="", in_place=True, destination=None, uploads=False, salt=b"",
               overwrite=False, exclude=[], follow_symlinks=False, threads=2)
while listing := scan.next_listing():
    scan.submit(listing, [])
found, failed = [], {}
while (batch := scan.next_batch()) is not None:
    found += json.loads(batch.keys_json())
    failed |= {path.decode().removeprefix(sys.argv[1] + "/"): reason for path, reason, *_ in batch.issues}
print(json.dumps([found, failed]))
"""
    child = run(script, str(root), wrapper=NOBODY)
    (root / "closed").chmod(0o755)
    assert json.loads(child.stdout) == [
        ["good"], {"bad": "unreadable", "closed": "unreadable", "listed/file": "unreadable"}
    ], child.stderr  # fmt: skip


def test_listings_come_in_order(root: Path) -> None:
    """The first ones are short, so that reading begins before a slow walk ends."""
    fill(root, {f"{n:05}": b"" for n in range(400)})
    scan = scanner(root)
    first, second = scan.next_listing(), scan.next_listing()
    assert first
    assert second
    assert (len(first), len(second), scan.next_listing()) == (256, 144, None)
    with pytest.raises(ValueError, match="listing"):
        scan.submit(second, [])
    scan.submit(first, [])
    with pytest.raises(ValueError, match="listing"):
        scan.submit(first, [])
    scan.submit(second, [])
    assert Counter(row[2] for row in rows(drain(scan))) == {"new": 400}


def test_the_walk_waits_for_a_slow_consumer(root: Path) -> None:
    for n in range(60):
        (root / f"{n:02}").mkdir()
        for m in range(1000):
            (root / f"{n:02}" / f"{m}").touch()
    scan = scanner(root)
    time.sleep(0.5)
    found, over = scan.found
    assert not over
    assert found <= 5 * 8192
    assert len(rows(drain(scan))) == 60_000

"""Small files of earlier processes that are damaged: none stops a call, and each is set aside and named."""

import asyncio
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

import children
from inhaul import Artifact, connect, gc, ingest, notes, verify
from inhaul.ingestion.journal import Session, Uploads
from registries import assert_holds
from trees import grow, write

Damage = Callable[[Path], object]

SESSION = {"salt": "00" * 16, "started": "2026-01-01T00:00:00+00:00"}
DAMAGES: dict[str, Damage] = {
    "NULs": lambda file: file.write_bytes(bytes(4096)),
    "half": lambda file: file.write_text(file.read_text()[:-9]),
    "garbage": lambda file: file.write_bytes(os.urandom(300)),
    "no text": lambda file: file.write_bytes(b"\xff\xfe{}"),
    "a list": lambda file: file.write_text("[1, 2]"),
    "a number": lambda file: file.write_text("7"),
    "null": lambda file: file.write_text("null"),
    "other names": lambda file: file.write_text('{"begun": 1, "pepper": "00"}'),
    "other types": lambda file: file.write_text(json.dumps({name: [1] for name in json.loads(file.read_text())})),
    "no zone": lambda file: (
        file.write_text(
            json.dumps(SESSION | {"started": "2026-01-01T00:00:00", "begun": "2026-01-01T00:00:00", "verified": {}})
        )
        and None
    ),
    "deep": lambda file: file.write_text("[" * 60_000),
    "huge": lambda file: os.truncate(file, 1 << 40),
    "a folder": lambda file: (file.unlink(), write(file / "in" / "it", "x")),
    "a link": lambda file: (file.rename(file.with_suffix(".real")), file.symlink_to(file.with_suffix(".real"))),
    "a link to nothing": lambda file: (file.unlink(), file.symlink_to("nothing")),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
}
damaged = pytest.mark.parametrize("damage", DAMAGES)


@contextmanager
def told(file: Path) -> Iterator[None]:
    """Checks that a warning names a file, and that the file was set aside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert any(str(file) in str(one.message) for one in caught), caught
    assert list(file.parent.glob(f"{file.name}.*.damaged"))


def crashed(home: Path, *target: str) -> Path:
    """The note of a session whose process was killed."""
    session = Session.find(home, *target)
    session.begin()
    session.release()
    (file,) = (home / "sessions").glob("*.json")
    return file


@damaged
async def test_a_damaged_session_does_not_stop_an_ingest(tmp_path: Path, damage: str) -> None:
    root, tree, url = tmp_path / "storage", tmp_path / "tree", f"sqlite:///{tmp_path}/registry.db"
    grow(tree, 5)
    file = await asyncio.to_thread(crashed, root / ".inhaul", str(tree), str(root), "tree")
    DAMAGES[damage](file)
    async with connect(root, url):
        with told(file):
            report = await ingest(tree)
        assert report.failed == []
    for aside in (root / ".inhaul" / "sessions").iterdir():
        assert aside.name.endswith((".damaged", ".real"))
        shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()
    await assert_holds(url, root, tree)


@damaged
async def test_a_damaged_session_does_not_stop_gc(tmp_path: Path, damage: str) -> None:
    async with connect(tmp_path / "storage") as instance:
        await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        file = await asyncio.to_thread(crashed, instance.home, "some", "other", "call")
        DAMAGES[damage](file)
        with told(file):
            report = await gc(delete=True, older_than=timedelta(0))
        assert report.sessions == report.objects == []
        assert (await verify()).ok


@damaged
async def test_a_damaged_note_of_a_replacement_does_not_stop_a_save(tmp_path: Path, damage: str) -> None:
    async with connect(tmp_path / "storage") as instance:
        artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", key_is_virtual=False).save()
        held = {"key": "a.txt", "digest": [artifact.hash, "md5", 1], "staged": ".inhaul/a/b.txt"}
        file = write(instance.home / "replacing" / f"{artifact.uid}.json", json.dumps(held))
        DAMAGES[damage](file)
    async with connect(tmp_path / "storage"):
        with told(file):
            await Artifact(write(tmp_path / "b.txt", "b"), key="b.txt").save()
        artifact = await Artifact.get(artifact.uid)
        await artifact.replace(write(tmp_path / "c.txt", "c"))
        assert await artifact.load() == "c"


@damaged
async def test_a_damaged_ledger_does_not_stop_verify(tmp_path: Path, damage: str) -> None:
    async with connect(tmp_path / "storage") as instance:
        await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        await verify()
        (file,) = (instance.home / "verified").glob("*.json")
        DAMAGES[damage](file)
        if damage in ("huge", "no zone"):
            file.write_text('{"begun": "2026-01-01T00:00:00", "verified": {}}')
        with told(file):
            report = await verify(max_age=timedelta(days=1))
        assert report.ok
        assert (report.checked, report.trusted) == (1, 0)
        assert (await verify(max_age=timedelta(days=1))).trusted == 1


def test_only_its_user_reads_the_uploads_of_a_session(tmp_path: Path) -> None:
    Uploads(tmp_path / "a.uploads").begin("key", "an id that permits to write")
    assert (tmp_path / "a.uploads").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["NULs", "garbage", "a list", "a number", "huge", "a folder", "a link", "a pipe"])
def test_damaged_uploads_of_a_session_begin_anew(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "a.uploads"
    Uploads(file).begin("key", "one")
    DAMAGES[damage](file)
    uploads = Uploads(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert uploads.get("key") is None
        uploads.begin("key", "two")
        assert Uploads(file).get("key") == "two"
        uploads.forget()
    assert not file.exists()


@pytest.mark.parametrize("name", ["sessions", "verified", "replacing"])
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
async def test_what_is_in_the_place_of_the_folder_of_notes_is_set_aside(tmp_path: Path, name: str, kind: str) -> None:
    outside = write(tmp_path / "outside" / "theirs", "x").parent
    path = tmp_path / "storage" / ".inhaul" / name
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("")
    else:
        path.symlink_to(outside if kind == "link" else "nothing")
    async with connect(tmp_path / "storage"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            grow(tmp_path / "tree", 1)
            assert (await ingest(tmp_path / "tree")).failed == []
            artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", key_is_virtual=False).save()
            await artifact.replace(write(tmp_path / "c.txt", "c"))
            assert (await verify()).ok
    assert [path.name for path in outside.iterdir()] == ["theirs"]
    assert any(str(path) in str(one.message) for one in caught)


def test_a_folder_of_notes_that_many_make_at_once_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    workers = 8
    start = Barrier(workers)

    def make(path: Path) -> Path:
        start.wait()
        return notes.folder(path)

    with ThreadPoolExecutor(workers) as pool:
        for number in range(300):
            path = tmp_path / str(number)
            assert list(pool.map(make, [path] * workers)) == [path] * workers  # a warning would be an error


def test_a_note_that_is_being_written_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    descriptor = notes.create(tmp_path / "a.json", {"a": 1})
    os.truncate(tmp_path / "a.json", 3)
    assert notes.take(tmp_path / "a.json", dict) is None
    os.close(descriptor)
    assert [path.name for path in tmp_path.glob("a.json*")] == ["a.json"]


def test_a_note_of_another_user_is_left_to_them(tmp_path: Path) -> None:
    os.close(notes.create(tmp_path / "a.json", {"a": 1}))
    (tmp_path / "a.json").chmod(0o600)
    code = (
        "import sys; from pathlib import Path; from inhaul import notes; print(notes.take(Path(sys.argv[1]), dict), "
        "notes.read(Path(sys.argv[1]), dict))"
    )
    done = children.run(code, str(tmp_path / "a.json"), wrapper=children.NOBODY)
    assert done.stdout.split() == ["None", "None"], done.stderr

"""Folders that are ingested into storage on S3."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

import inhaul
from inhaul import Artifact, connect, gc, ingest
from inhaul.db.tables import artifact
from inhaul.errors import ObjectRefused, StorageDenied, StorageMissing
from inhaul.ingestion.journal import Session
from inhaul.stores.remote.limiter import Limits
from proxy import Hold, Request, Stall, Status
from registries import artifacts, digest, seeds
from s3_places import Place
from scans import PART, fill
from trees import grow

MIB = 1024 * 1024
SIZES = {"empty.csv": 0, "a/small.csv": 5000, "a/own.bin": 200_000, "b/large.bin": 2 * PART + 5}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    files = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
    fill(root, files | {f"many/{n:03}.txt": f"content {n}".encode() for n in range(200)})
    return root


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def connected(place: Place, url: str) -> inhaul.Instance:
    return connect(str(place.address), db=url, storage_options=place.server.options)


async def assert_stored(place: Place, url: str, tree: Path, *, orphans: int = 0) -> None:
    """Checks that every file has a row, every row its object, and that there are `orphans` other objects."""
    stored = place.contents()
    rows = [row for row in await artifacts(url) if row["is_latest"]]
    files = {f"{tree.name}/{path.relative_to(tree)}": path for path in tree.rglob("*") if path.is_file()}
    assert {row["key"] for row in rows} == set(files)
    for row in rows:
        path = files[row["key"]]
        assert (row["size"], row["hash"], row["hash_type"]) == digest(path)
        assert stored.pop(row["object_key"]) == path.read_bytes()
        assert row["verified_by"] == "etag"
    assert len(stored) == orphans


def puts(place: Place) -> list[str]:
    """Returns the targets of the requests that sent objects and parts."""
    return [seen.request.target for seen in place.proxy.log if seen.request.stores]


async def test_an_ingest_sends_only_what_changed(place: Place, url: str, tree: Path) -> None:
    async with connected(place, url):
        report = await ingest(tree)
        assert (report.files, report.failed) == (204, [])
        assert len(puts(place)) == 203 + 3 + 1  # files, parts, the mark of the registry
        await assert_stored(place, url, tree)
        place.proxy.log.clear()
        assert (await ingest(tree)).counts["unchanged"] == 204
        assert puts(place) == []

        for name in ("empty.csv", "a/own.bin", "b/large.bin"):
            (tree / name).write_bytes((tree / name).read_bytes()[::-1] or b"x")
        assert (await ingest(tree)).counts["new_version"] == 3
        await assert_stored(place, url, tree, orphans=3)  # the objects of the versions before
    assert not list(Path(".inhaul/sessions").iterdir())


async def test_an_unstaged_folder_is_saved_whole(place: Place, url: str, tree: Path) -> None:
    async with connected(place, url):
        unstaged = Artifact.from_dir(tree)
        await unstaged.save()
        assert unstaged[0].verified_by == "etag"
        await assert_stored(place, url, tree)


async def test_a_staged_folder_is_saved_without_files_that_changed(place: Place, url: str, tree: Path) -> None:
    async with connected(place, url):
        staged = await Artifact.from_dir(tree)
        assert puts(place) == []
        for name in ("a/small.csv", "b/large.bin"):
            (tree / name).write_bytes((tree / name).read_bytes()[::-1])
        await staged.save()
        assert {(issue.path, issue.reason) for issue in staged.failed} == {
            (tree / name, "changed") for name in ("a/small.csv", "b/large.bin")
        }
        for name in ("a/small.csv", "b/large.bin"):
            (tree / name).unlink()
        await assert_stored(place, url, tree)
    assert place.uploads() == []


async def test_what_the_storage_refuses_is_an_issue_of_its_file(place: Place, url: str, tree: Path) -> None:
    def refused(request: Request) -> bool:
        return request.stores and (request.path.endswith(".csv") or "partNumber=2" in request.query)

    place.proxy.add(Status(400, "InvalidRequest"), when=refused)
    async with connected(place, url):
        report = await ingest(tree)
        names = ["a/small.csv", "b/large.bin", "empty.csv"]
        assert sorted((issue.path, issue.reason) for issue in report.failed) == [
            (tree / n, "not_stored") for n in names
        ]
        assert all(isinstance(issue.error, ObjectRefused) for issue in report.failed)
        for name in names:
            (tree / name).unlink()
        await assert_stored(place, url, tree)
    assert place.uploads() == []


@pytest.mark.parametrize(
    ("status", "code", "error"), [(404, "NoSuchBucket", StorageMissing), (403, "AccessDenied", StorageDenied)]
)
async def test_a_storage_that_takes_nothing_ends_the_ingest_soon(
    place: Place, url: str, tree: Path, status: int, code: str, error: type[Exception]
) -> None:
    place.proxy.add(Status(status, code))
    async with connected(place, url):
        began = time.monotonic()
        with pytest.raises(error):
            await ingest(tree)
        assert time.monotonic() - began < 5
        assert len(place.proxy.log) <= 2 * Limits().requests
        assert await artifacts(url) == []

        place.proxy.clear()
        await ingest(tree)
        await assert_stored(place, url, tree)


async def test_a_cancelled_ingest_goes_on_where_it_stopped(place: Place, url: str, tree: Path) -> None:
    async with connected(place, url):
        task = asyncio.create_task(ingest(tree))
        while len(puts(place)) < 50:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5
        await ingest(tree)
        await assert_stored(place, url, tree)
    assert place.uploads() == []


INGEST = """
import asyncio, json, sys, inhaul
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2], storage_options=json.loads(sys.argv[4])):
        await inhaul.ingest(sys.argv[3])
asyncio.run(main())
"""


def killed_after(sent: int, place: Place, url: str, tree: Path) -> bool:
    """Kills an ingest when it has sent so many objects and parts. Returns False if it ended before."""
    arguments = [str(place.address), url, str(tree), json.dumps(place.server.options)]
    with subprocess.Popen([sys.executable, "-c", INGEST, *arguments]) as child:
        while child.poll() is None and len(puts(place)) < sent:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        return child.wait() < 0


@seeds(2, 500)
async def test_a_killed_ingest_goes_on_where_it_stopped(place: Place, url: str, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    tree = tmp_path / "tree"
    grow(tree, 200, largest=64 << 10)
    while await asyncio.to_thread(killed_after, rng.randrange(1, 200), place, url, tree):
        dangling = {row["object_key"] for row in await artifacts(url)} - set(place.contents())
        assert not dangling
        sent = len(puts(place))
        place.proxy.log.clear()
        if rng.random() < 0.7:
            break
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
    assert len(puts(place)) <= 200 - sent + Limits().requests
    await assert_stored(place, url, tree)


@seeds(1, 20)
async def test_a_killed_upload_of_a_large_file_goes_on(place: Place, url: str, tmp_path: Path, seed: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    parts = 14
    (tree / "large.bin").write_bytes(random.Random(seed).randbytes(parts * PART))
    assert await asyncio.to_thread(killed_after, random.Random(seed).randrange(3, parts - 3), place, url, tree)
    sent = len(puts(place))
    place.proxy.log.clear()
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
    assert len(puts(place)) <= parts - sent + Limits().parts
    await assert_stored(place, url, tree)
    assert place.uploads() == []
    assert not list(Path(".inhaul/sessions").iterdir())


_LABELS = {
    "an object is sent": lambda request: request.path.endswith(".txt"),
    "an upload begins": lambda request: request.method == "POST" and request.query.startswith("uploads"),
    "a part is sent": lambda request: "partNumber=2" in request.query,
    "an upload is completed": lambda request: request.method == "POST" and "uploadId=" in request.query,
}


@pytest.mark.parametrize("fault", [Stall(), Hold()], ids=["before", "after"])
@pytest.mark.parametrize("label", _LABELS)
async def test_an_ingest_killed_during_a_request_can_be_repeated(
    place: Place, url: str, tmp_path: Path, label: str, fault: Stall | Hold
) -> None:
    """It is killed before the server gets the request, or after the server has carried it out."""
    tree = tmp_path / "tree"
    fill(tree, {"large.bin": random.Random(label).randbytes(3 * PART), "small.txt": b"small"})
    place.proxy.add(fault, when=_LABELS[label], times=1)
    arguments = [str(place.address), url, str(tree), json.dumps(place.server.options)]
    with subprocess.Popen([sys.executable, "-c", INGEST, *arguments]) as child:
        while not any(seen.fault is fault for seen in place.proxy.log):
            assert child.poll() is None
            await asyncio.sleep(0.01)
        child.kill()
    assert not {row["object_key"] for row in await artifacts(url)} - set(place.contents())
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
        await assert_stored(place, url, tree)
        # An upload stays if the reply with its name was lost. One may also begin just while an object is sent.
        possible = {isinstance(fault, Hold)} if label == "an upload begins" else {False, label == "an object is sent"}
        assert len(place.uploads()) in possible
        await gc(delete=True, older_than=timedelta(0))
        assert place.uploads() == []


async def test_a_large_object_without_its_row_is_adopted(place: Place, url: str, tree: Path) -> None:
    async with connected(place, url) as instance:
        with pytest.raises(ZeroDivisionError):
            await ingest(tree, on_event=lambda event: 1 / 0)  # the rows are written, but the session stays
        async with instance.database.write() as conn:
            await conn.execute(delete(artifact))
        place.proxy.log.clear()
        await ingest(tree)
        await assert_stored(place, url, tree)
    assert puts(place) == []


def test_a_torn_journal_keeps_its_whole_lines(tmp_path: Path) -> None:
    session = Session.find(tmp_path, "a")
    session.begin()
    session.uploads.begin("one", "1")
    session.uploads.begin("one", "2")
    file = next((tmp_path / "sessions").glob("*.uploads"))
    with file.open("a") as torn:
        torn.write('["two", "half')
    session.release()
    resumed = Session.find(tmp_path, "a")
    assert resumed.resumed
    resumed.uploads.begin("three", "3")
    assert [Session.find(tmp_path, "b").uploads.get("one")] == [None]
    again = type(resumed.uploads)(file)
    assert [again.get(key) for key in ("one", "two", "three")] == ["2", None, "3"]
    resumed.end()
    assert list((tmp_path / "sessions").iterdir()) == []

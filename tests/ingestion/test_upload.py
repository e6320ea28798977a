"""Folders that are ingested into a storage in a bucket, on each service."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

import inhaul
from inhaul import Artifact, connect, gc, ingest
from inhaul.db.tables import artifact
from inhaul.errors import ObjectRefused, StorageDenied, StorageMissing
from inhaul.ingestion.journal import Session
from inhaul.stores.remote.limiter import Limits
from places import RemotePlace
from proxy import Delay, Hold, Request, Stall, Status
from registries import artifacts, digest, seeds
from scans import PART, fill
from trees import grow

MIB = 1024 * 1024
SIZES = {"empty.csv": 0, "a/small.csv": 5000, "a/own.bin": 200_000, "b/large.bin": 2 * PART + 5}


@pytest.fixture
def place(service_place: RemotePlace) -> RemotePlace:
    return service_place


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


def connected(place: RemotePlace, url: str) -> inhaul.Instance:
    return connect(place.root, db=url, storage_options=place.options)


async def assert_stored(place: RemotePlace, url: str, tree: Path, *, orphans: int = 0) -> None:
    """Checks that every file has a row, every row its object, and that there are `orphans` other objects."""
    stored = place.contents()
    rows = [row for row in await artifacts(url) if row["is_latest"]]
    files = {f"{tree.name}/{path.relative_to(tree)}": path for path in tree.rglob("*") if path.is_file()}
    assert {row["key"] for row in rows} == set(files)
    for row in rows:
        path = files[row["key"]]
        assert (row["size"], row["hash"], row["hash_type"]) == digest(path)
        assert stored.pop(row["object_key"]) == path.read_bytes()
        # If all parts were there already, nothing shows whether the server has checked them.
        in_parts = {place.large_verified_by, "readback"}
        assert row["verified_by"] in (in_parts if row["size"] >= PART else {place.verified_by})
    assert len(stored) == orphans


async def assert_none_is_half(place: RemotePlace, url: str, tree: Path) -> None:
    """Checks that each row has the whole object."""
    stored = place.contents()
    for row in await artifacts(url):
        assert stored[row["object_key"]] == (tree.parent / row["key"]).read_bytes()


def puts(place: RemotePlace) -> list[str]:
    """Returns the targets of the requests that sent objects and parts."""
    return [seen.request.target for seen in place.proxy.log if seen.request.stores]


async def test_an_ingest_sends_only_what_changed(place: RemotePlace, url: str, tree: Path) -> None:
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


async def test_an_unstaged_folder_is_saved_whole(place: RemotePlace, url: str, tree: Path) -> None:
    async with connected(place, url):
        unstaged = Artifact.from_dir(tree)
        await unstaged.save()
        assert unstaged[0].verified_by == place.verified_by
        await assert_stored(place, url, tree)


async def test_a_staged_folder_is_saved_without_files_that_changed(place: RemotePlace, url: str, tree: Path) -> None:
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


async def test_what_the_storage_refuses_is_an_issue_of_its_file(place: RemotePlace, url: str, tree: Path) -> None:
    def refused(request: Request) -> bool:
        return request.stores and (is_put_of(request, ".csv") or place.part(request) == 2)

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
        if place.names_uploads:  # a part that was under way when the upload ended is taken, and left to gc
            while place.proxy.under_way:
                await asyncio.sleep(0.02)
            await asyncio.sleep(1.1)  # times are whole seconds
            await gc(delete=True, older_than=timedelta(0))
    assert place.uploads() == []


@pytest.mark.parametrize("error", [StorageMissing, StorageDenied])
async def test_a_storage_that_takes_nothing_ends_the_ingest_soon(
    place: RemotePlace, url: str, tree: Path, error: type[Exception]
) -> None:
    if error is StorageMissing:
        place = replace(place, bucket="there-is-none")
    else:
        place.proxy.add(Status(403, "AccessDenied"))
    async with connected(place, url):
        began = time.monotonic()
        with pytest.raises(error):
            await ingest(tree)
        assert time.monotonic() - began < 5
        assert len(place.proxy.log) <= 2 * Limits().requests
        assert await artifacts(url) == []
        if error is StorageDenied:
            place.proxy.clear()
            await ingest(tree)
            await assert_stored(place, url, tree)


async def test_more_files_are_sent_at_once_to_a_storage_far_away(place: RemotePlace, url: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    fill(tree, {f"{number}.txt": f"content {number}".encode() for number in range(600)})
    place.proxy.add(Delay(0.5), when=lambda request: request.stores)
    most = 0
    async with connected(place, url):
        task = asyncio.create_task(ingest(tree))
        while not task.done():
            most = max(most, len(place.proxy.under_way))
            await asyncio.sleep(0.01)
        assert (await task).failed == []
    assert most > 2 * Limits().requests
    await assert_stored(place, url, tree)


async def test_a_cancelled_ingest_goes_on_where_it_stopped(place: RemotePlace, url: str, tree: Path) -> None:
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


def running(place: RemotePlace, url: str, tree: Path) -> subprocess.Popen[bytes]:
    """Starts an ingest in a process of its own."""
    arguments = [place.root, url, str(tree), json.dumps(place.options)]
    return subprocess.Popen([sys.executable, "-c", INGEST, *arguments])


def killed_after(sent: int, place: RemotePlace, url: str, tree: Path, later: float = 0) -> bool:
    """Kills an ingest when it has sent so many objects and parts, or later. Returns False if it ended before."""
    with running(place, url, tree) as child:
        while child.poll() is None and len(puts(place)) < sent:
            time.sleep(0.002)
        time.sleep(later)
        child.send_signal(signal.SIGKILL)
        is_killed = child.wait() < 0
    while place.proxy.under_way:  # what the server still gets
        time.sleep(0.002)
    return is_killed


def parts_stored(place: RemotePlace) -> list[int]:
    """Returns the parts that the server has accepted, by their numbers. A busy server may refuse some."""
    accepted = [seen.request for seen in place.proxy.log if seen.status is not None and seen.status < 400]
    return [number for request in accepted if (number := place.part(request))]


def is_put_of(request: Request, suffix: str) -> bool:
    """Returns whether a request stores an object whose name ends so. To Google, the name is in the body."""
    return request.stores and (request.path.endswith(suffix) or f'{suffix}"'.encode() in request.body[:2000])


@seeds(2, 500)
async def test_a_killed_ingest_goes_on_where_it_stopped(
    place: RemotePlace, url: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    tree = tmp_path / "tree"
    grow(tree, 200, largest=64 << 10)
    while await asyncio.to_thread(killed_after, rng.randrange(1, 200), place, url, tree):
        await assert_none_is_half(place, url, tree)
        sent = len(puts(place))
        place.proxy.log.clear()
        if rng.random() < 0.7:
            break
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
    assert len(puts(place)) <= 200 - sent + 2 * Limits().requests  # of which more are under way by then
    await assert_stored(place, url, tree)


@seeds(1, 200)
async def test_a_killed_upload_of_a_large_file_goes_on(place: RemotePlace, url: str, tmp_path: Path, seed: int) -> None:
    rng, tree, parts = random.Random(seed), tmp_path / "tree", 10
    fill(tree, {"large.bin": rng.randbytes(parts * PART)})
    sent = rng.randrange(2, parts - 1)
    await asyncio.to_thread(killed_after, sent, place, url, tree, rng.uniform(0, 0.05))
    await assert_none_is_half(place, url, tree)
    before = set(parts_stored(place))
    place.proxy.log.clear()
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
    assert sorted([*before, *parts_stored(place)]) == list(range(1, parts + 1)), (
        "what the server had was not sent again"
    )
    await assert_stored(place, url, tree)
    assert place.uploads() == []
    assert not list(Path(".inhaul/sessions").iterdir())


_LABELS = {
    "an object is sent": lambda place, request: is_put_of(request, ".txt"),
    "an upload begins": lambda place, request: place.begins(request),
    "a part is sent": lambda place, request: place.part(request) == 2,
    "an upload is completed": lambda place, request: place.completes(request),
}


@pytest.mark.parametrize("fault", [Stall(), Hold()], ids=["before", "after"])
@pytest.mark.parametrize("label", _LABELS)
async def test_an_ingest_killed_during_a_request_can_be_repeated(
    place: RemotePlace, url: str, tmp_path: Path, label: str, fault: Stall | Hold
) -> None:
    """It is killed before the server gets the request, or after the server has carried it out."""
    tree = tmp_path / "tree"
    fill(tree, {"large.bin": random.Random(label).randbytes(3 * PART), "small.txt": b"small"})
    place.proxy.add(fault, when=partial(_LABELS[label], place), times=1)
    with running(place, url, tree) as child:
        while not any(seen.fault is fault for seen in place.proxy.log):
            assert child.poll() is None
            await asyncio.sleep(0.01)
        child.kill()
    await assert_none_is_half(place, url, tree)
    async with connected(place, url):
        assert (await ingest(tree)).failed == []
        await assert_stored(place, url, tree)
        # An upload stays if the reply with its name was lost. One may also begin just while an object is sent.
        lost = isinstance(fault, Hold) and not place.names_uploads
        possible = {lost} if label == "an upload begins" else {False, label == "an object is sent"}
        assert len(place.uploads()) in possible
        if place.lists_uploads:
            await gc(delete=True, older_than=timedelta(0))
            assert place.uploads() == []


async def test_a_large_object_without_its_row_is_adopted(place: RemotePlace, url: str, tree: Path) -> None:
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

"""What `measure` and `inhaul bench` say about a place, and that they leave nothing there."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import inhaul
import inhaul.sync
from children import NOBODY
from commands import COMMAND
from commands import inhaul as command
from inhaul import MeasureReport
from inhaul.errors import StorageDenied, StorageUnavailable, UnsupportedStorage
from inhaul.instance import connecting
from inhaul.instance.stack import Stack
from places import RemotePlace
from proxy import Delay, Status
from registries import query
from s3_places import Place
from trees import grow, open_to_all, write

FILES = 200


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    grow(tmp_path / "tree", FILES)
    return tmp_path / "tree"


def everything(folder: Path) -> dict[Path, tuple[int, bytes] | None]:
    """Returns the content of a folder; of a file also the time of its last change."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else None for path in folder.rglob("*")
    }


def rates(report: MeasureReport) -> dict[str, tuple[float | None, float | None]]:
    return {step.name: (step.files_per_second, step.bytes_per_second) for step in report.steps}


def assert_is_consistent(report: MeasureReport, *steps: str) -> None:
    assert [step.name for step in report.steps if step.is_measured] == list(steps)
    stages = [step for step in report.steps if step.name not in ("open", "hash")]
    times = {step.name: step.seconds_per_file(report.mean_size) or 0 for step in stages}
    assert report.files_per_second == pytest.approx(1 / max(times.values()))
    assert report.bytes_per_second == pytest.approx(report.files_per_second * report.mean_size)
    slowest = max(times, key=lambda name: times[name])
    assert report.limit == slowest or (slowest == "read" and report.limit in ("open", "hash"))
    assert report.advice.endswith(".")


async def test_a_folder_and_a_storage_are_measured_and_nothing_is_left(tree: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    async with inhaul.connect(tmp_path / "new" / "storage"):
        report = await inhaul.measure(tree, storage=tmp_path / "new" / "storage")
    assert everything(tmp_path) == before
    assert_is_consistent(report, "walk", "open", "read", "hash", "copy", "rows")
    assert all(rate for step in ("walk", "read", "copy", "rows") for rate in rates(report)[step][:1])
    assert (report.files, report.walked) == (FILES, True)
    sizes = [path.stat().st_size for path in tree.rglob("*") if path.is_file()]
    assert report.mean_size == pytest.approx(sum(sizes) / FILES)


async def test_a_storage_in_use_keeps_its_objects_and_rows(tree: Path, tmp_path: Path, database_url: str) -> None:
    async with inhaul.connect(tmp_path / "storage", database_url):
        await inhaul.ingest(tree)
        objects = everything(tmp_path / "storage")
        tables = ("artifact", '"user"', "storage")
        counts = [await query(database_url, f"SELECT count(*) AS n FROM {table}") for table in tables]  # noqa: S608
        report = await inhaul.measure(tree)
        assert [await query(database_url, f"SELECT count(*) AS n FROM {table}") for table in tables] == counts  # noqa: S608
        assert everything(tmp_path / "storage") == objects
    assert_is_consistent(report, "walk", "open", "read", "hash", "copy", "rows")
    assert report.storage == str(tmp_path / "storage")
    assert not list(tmp_path.glob("bench-*"))


async def test_a_bucket_is_measured_and_nothing_is_left(tree: Path, tmp_path: Path, service_place: RemotePlace) -> None:
    service_place.put("theirs", b"content")
    db = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(service_place.root, db, storage_options=service_place.options):
        report = await inhaul.measure(tree)
    assert_is_consistent(report, "walk", "open", "read", "hash", "put", "rows")
    assert report.storage == service_place.root
    assert service_place.contents() == {"theirs": b"content"}
    assert service_place.uploads() == []
    assert not (tmp_path / "registry.db").exists()


async def test_a_bucket_far_away_is_the_limit(tree: Path, tmp_path: Path, place: Place) -> None:
    place.proxy.add(Delay(0.2))
    async with inhaul.connect(place.root, f"sqlite:///{tmp_path / 'registry.db'}", storage_options=place.options):
        report = await inhaul.measure(tree)
    (put,) = (step for step in report.steps if step.name == "put")
    assert put.latency is not None
    assert 0.2 <= put.latency < 1
    assert report.limit == "put"
    assert "Each request to the bucket takes" in report.advice
    assert report.files_per_second < 1024 / 0.2


async def test_a_cancelled_call_leaves_nothing_in_a_folder(tree: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    before = everything(tmp_path)
    async with inhaul.connect(storage, f"sqlite:///{tmp_path / 'registry.db'}"):
        call = asyncio.create_task(inhaul.measure(tree, storage=storage))
        while not await asyncio.to_thread(lambda: list(storage.glob(".inhaul/bench-*/*"))):
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert everything(tmp_path) == before


async def test_a_cancelled_call_leaves_nothing_beside_a_registry(tree: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    async with inhaul.connect(db=f"sqlite:///{tmp_path / 'there' / 'registry.db'}"):
        call = asyncio.create_task(inhaul.measure(tree))
        while not await asyncio.to_thread(lambda: list(tmp_path.glob("there/bench-*.db"))):
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert everything(tmp_path) == before


async def test_a_cancelled_call_leaves_nothing_in_a_bucket(tmp_path: Path, service_place: RemotePlace) -> None:
    data = write(tmp_path / "data", b"content")
    db = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(service_place.root, db, storage_options=service_place.options):
        call = asyncio.create_task(inhaul.measure(data))
        while not await asyncio.to_thread(service_place.contents):
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert service_place.contents() == {}
    assert service_place.uploads() == []


def test_the_command_leaves_nothing_after_ctrl_c(tree: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    storage = tmp_path / "storage"
    with subprocess.Popen([COMMAND, "bench", tree, "--storage", storage], stderr=subprocess.PIPE) as process:
        while not list(storage.glob(".inhaul/bench-*/*")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert everything(tmp_path) == before


async def test_a_storage_that_refuses_writes_is_an_error(tree: Path, tmp_path: Path, place: Place) -> None:
    place.proxy.add(Status(403, "AccessDenied"), when=lambda request: request.stores)
    async with inhaul.connect(place.root, f"sqlite:///{tmp_path / 'registry.db'}", storage_options=place.options):
        with pytest.raises(StorageDenied):
            await inhaul.measure(tree)
    assert place.contents() == {}


async def test_a_storage_that_does_not_answer_is_an_error(
    tree: Path, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhaul.measuring.target._REACH", 0.5)
    place.proxy.down()
    async with inhaul.connect(place.root, f"sqlite:///{tmp_path / 'registry.db'}", storage_options=place.options):
        with pytest.raises(StorageUnavailable, match="did not answer"):
            await inhaul.measure(tree)


def test_a_folder_that_may_only_be_read_is_an_error(tree: Path, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    (tmp_path / "storage").mkdir(mode=0o555)
    where = ["--storage", tmp_path / "storage", "--db", f"sqlite:///{tmp_path / 'registry.db'}"]
    done = subprocess.run(
        [*NOBODY, COMMAND, "bench", tree, *where], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "This user may not write here" in done.stderr
    assert not list((tmp_path / "storage").iterdir())


async def test_without_a_storage_writing_is_not_measured(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "stack", Stack[inhaul.Instance]("none"))  # other tests may leave a default
    before = everything(tmp_path)
    report = await inhaul.measure(tree)
    assert_is_consistent(report, "walk", "open", "read", "hash", "rows")
    assert report.storage is None
    (copy,) = (step for step in report.steps if step.name == "copy")
    assert "there is no storage" in copy.detail
    assert everything(tmp_path) == before


async def test_files_in_a_storage_are_not_copied(tmp_path: Path) -> None:
    grow(tmp_path / "storage" / "tree", 10)
    async with inhaul.connect(tmp_path / "storage") as instance:
        await instance.open()
        report = await inhaul.measure(tmp_path / "storage" / "tree")
    assert report.storage is None
    (copy,) = (step for step in report.steps if step.name == "copy")
    assert not copy.is_measured
    assert "are in the storage" in copy.detail


async def test_one_large_file_is_measured(tmp_path: Path) -> None:
    data = write(tmp_path / "data.bin", os.urandom(20 << 20))
    async with inhaul.connect(tmp_path / "storage"):
        report = await inhaul.measure(data, storage=tmp_path / "storage")
    assert_is_consistent(report, "open", "read", "hash", "copy", "rows")
    assert (report.files, report.mean_size) == (1, 20 << 20)
    assert rates(report)["read"][0] is None
    assert rates(report)["copy"][0] is None


async def test_empty_files_are_measured(tmp_path: Path) -> None:
    write(tmp_path / "data" / "empty", b"")
    async with inhaul.connect(tmp_path / "storage"):
        report = await inhaul.measure(tmp_path / "data", storage=tmp_path / "storage")
    assert (report.mean_size, report.bytes_per_second) == (0, 0)
    assert report.files_per_second > 0


async def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no files"):
        await inhaul.measure(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        await inhaul.measure(tmp_path / "missing")
    with pytest.raises(UnsupportedStorage):
        await inhaul.measure("s3://bucket/folder")
    write(tmp_path / "data", b"1")
    with pytest.raises(UnsupportedStorage):
        await inhaul.measure(tmp_path / "data", storage="https://example.org")


def test_the_command_prints_the_steps_and_what_limits(tree: Path, tmp_path: Path) -> None:
    done = command("bench", tree, "--storage", tmp_path / "storage")
    assert (done.returncode, done.stderr) == (0, "")
    first, titles, *lines = done.stdout.splitlines()
    assert first.startswith(f"{tree}: {FILES} files, about ")
    assert titles.split() == ["step", "files/s", "MB/s", "one", "takes"]
    steps = ["walk", "open", "read", "hash", "copy", "rows"]
    assert [line.split()[0] for line in lines] == [*steps, "expect", "limit:", "The"]
    said = json.loads(command("bench", tree, "--storage", tmp_path / "storage", "--json").stdout)
    assert said["files"] == FILES
    assert said["limit"] in steps
    assert said["files_per_second"] > 0
    assert [step["name"] for step in said["steps"]] == steps


def test_the_command_says_what_it_does_not_measure(tree: Path) -> None:
    assert "copy was not measured: there is no storage at" in command("bench", tree).stdout


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_the_command_refuses_a_folder_without_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = command("bench", tmp_path / name)
    assert done.returncode == 2
    assert done.stderr.startswith("inhaul: ")


def test_the_twin_measures_too(tree: Path) -> None:
    assert inhaul.sync.measure(tree).files == FILES

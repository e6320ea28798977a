"""What `watch` takes, when, and what it leaves out."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, IngestReport, Instance, Reason, Status
from inhaul.errors import InhaulError, InvalidKey

pytestmark = pytest.mark.usefixtures("instance")

SOON = 10.0


class Watch:
    """A running watch, and its reports."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.reports: list[IngestReport] = []
        self._folder = folder
        self._options = options

    async def run(self) -> None:
        async with aclosing(inhaul.watch(self._folder, **self._options)) as reports:
            async for report in reports:
                self.reports.append(report)


@asynccontextmanager
async def watching(folder: Path, **options: Any) -> AsyncIterator[Watch]:
    watch = Watch(folder, **options)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def keys() -> dict[str, str]:
    return {one.key: (await one.cache()).read_text() async for one in Artifact.filter(is_latest=True)}


async def until(expected: dict[str, str]) -> None:
    """Waits until the registry has just these latest versions, given by the paths and contents of files."""
    async with asyncio.timeout(SOON):
        while (found := await keys()) != {f"in/{name}": content for name, content in expected.items()}:
            await asyncio.sleep(0.02)
    assert found


async def until_reported(watch: Any, count: int) -> None:
    """Waits until the rounds have reported so many new files and versions. They do so after their rows are written."""
    changed = (Status.NEW, Status.NEW_VERSION)
    async with asyncio.timeout(SOON):
        while sum(report.counts[status] for report in watch.reports for status in changed) < count:
            await asyncio.sleep(0.02)


@pytest.fixture(params=["events", "polling"])
def way(request: pytest.FixtureRequest) -> dict[str, float]:
    """Options for either way to find changes."""
    return {} if request.param == "events" else {"poll": 0.2}


async def test_files_are_taken_as_they_arrive(folder: Path, way: dict[str, float]) -> None:
    (folder / "before.txt").write_text("0")
    async with watching(folder, **way) as watch:
        await until({"before.txt": "0"})
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "new.txt").write_text("1")
        await until({"before.txt": "0", "a/b/new.txt": "1"})
        (folder / "before.txt").write_text("2")
        await until({"before.txt": "2", "a/b/new.txt": "1"})
        (folder / "a").rename(folder / "c")
        await until({"before.txt": "2", "a/b/new.txt": "1", "c/b/new.txt": "1"})
        (folder / "c" / "b" / "later.txt").write_text("3")
        await until({"before.txt": "2", "a/b/new.txt": "1", "c/b/new.txt": "1", "c/b/later.txt": "3"})
        await until_reported(watch, 5)
    totals = sum((report.counts for report in watch.reports), start=Counter())
    assert totals == {Status.NEW: 4, Status.NEW_VERSION: 1}
    assert [issue for report in watch.reports for issue in report.failed] == []


async def test_a_file_that_is_open_to_write_is_not_taken(folder: Path, way: dict[str, float]) -> None:
    async with watching(folder, **way):
        with (folder / "slow.txt").open("w", buffering=1) as file:
            file.write("first\n")
            (folder / "other.txt").write_text("x")
            await until({"other.txt": "x"})
            await asyncio.sleep(1)  # more than the settle time
            await until({"other.txt": "x"})
            file.write("last\n")
        await until({"other.txt": "x", "slow.txt": "first\nlast\n"})
    assert await Artifact.filter().count() == 2


async def test_names_that_are_used_while_writing_are_left_out(folder: Path, way: dict[str, float]) -> None:
    passing = ["x.part", "x.partial", "x.tmp", "x.crdownload", "x.filepart", ".x.csv.a1B2c3", ".goutputstream-ABC"]
    async with watching(folder, **way):
        for name in passing:
            (folder / name).write_text("1")
        (folder / "y.part").mkdir()
        (folder / "y.part" / "z.txt").write_text("2")
        (folder / ".hidden").write_text("3")
        await until({".hidden": "3"})
        (folder / "x.part").rename(folder / "x")
        (folder / "y.part").rename(folder / "y")
        await until({".hidden": "3", "x": "1", "y/z.txt": "2"})


async def test_patterns_and_ignore_files_leave_out_files(folder: Path, way: dict[str, float]) -> None:
    (folder / ".inhaulignore").write_text("*.log\n/build/\n")
    (folder / "deep").mkdir()
    (folder / "deep" / ".inhaulignore").write_text("!keep.log\n")
    (folder / "build").mkdir()
    expected = {".inhaulignore": "*.log\n/build/\n", "deep/.inhaulignore": "!keep.log\n"}
    async with watching(folder, exclude=["*.bak"], **way):
        for name in ("a.log", "build/x.txt", "deep/b.log", "deep/c.bak"):
            (folder / name).write_text("0")
        (folder / "deep" / "keep.log").write_text("1")
        await until(expected | {"deep/keep.log": "1"})
        (folder / "last.txt").write_text("2")
        await until(expected | {"deep/keep.log": "1", "last.txt": "2"})


async def test_files_are_taken_when_the_marker_of_their_folder_exists(folder: Path, way: dict[str, float]) -> None:
    for run in ("one", "two"):
        (folder / run / "data").mkdir(parents=True)
        (folder / run / "data" / "x.txt").write_text(run)
    (folder / "two" / "Done.txt").write_text("")
    two = {"two/data/x.txt": "two", "two/Done.txt": ""}
    async with watching(folder, when_exists="{folder}/Done.txt", **way):
        await until(two)
        (folder / "one" / "data" / "y.txt").write_text("more")
        (folder / "two" / "data" / "y.txt").write_text("more")
        await until(two := two | {"two/data/y.txt": "more"})
        (folder / "one" / "Done.txt").write_text("")
        await until(two | {"one/data/x.txt": "one", "one/data/y.txt": "more", "one/Done.txt": ""})


async def test_lost_events_lead_to_a_look_at_all_files(folder: Path) -> None:
    """The queue of the kernel is full, and it drops the events that do not fit."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    async with watching(folder):
        (folder / "0.txt").write_text("0")
        await until({"0.txt": "0"})
        for _ in range(limit // 4):  # the loop reads no events meanwhile
            (folder / "0.txt").rename(folder / "1.txt")
            (folder / "1.txt").rename(folder / "0.txt")
        (folder / "lost").mkdir()
        (folder / "lost" / "2.txt").write_text("2")
        await until({"0.txt": "0", "lost/2.txt": "2"})


async def test_a_failed_round_is_reported_and_tried_again(
    folder: Path, instance: Instance, tmp_path: Path, way: dict[str, float]
) -> None:
    storage = Path(instance.root)
    async with inhaul.connect(storage, f"sqlite:///{tmp_path}/registry.db"), watching(folder, **way) as watch:
        (folder / "0.txt").write_text("0")
        await until({"0.txt": "0"})
        await until_reported(watch, 1)
        storage.rename(tmp_path / "away")
        storage.write_text("no folder")
        (folder / "1.txt").write_text("1")
        async with asyncio.timeout(SOON):
            while len(watch.reports) < 3:
                await asyncio.sleep(0.02)
        (folder / "2.txt").write_text("2")
        storage.unlink()
        (tmp_path / "away").rename(storage)
        await until({"0.txt": "0", "1.txt": "1", "2.txt": "2"})
        await until_reported(watch, 3)
    assert sum(report.counts[Status.NEW] for report in watch.reports) == 3
    issues = [issue for report in watch.reports for issue in report.failed]
    assert {(issue.path, issue.reason) for issue in issues} == {(folder, Reason.NOT_STORED)}
    assert all(isinstance(issue.error, InhaulError | OSError) for issue in issues)


async def test_a_folder_that_is_away_for_some_time_is_watched_again(folder: Path, way: dict[str, float]) -> None:
    (folder / "0.txt").write_text("0")
    async with watching(folder, **way) as watch:
        await until({"0.txt": "0"})
        await until_reported(watch, 1)
        folder.rename(folder.with_name("away"))
        async with asyncio.timeout(SOON):
            while len(watch.reports) < 2:
                await asyncio.sleep(0.02)
        folder.with_name("away").rename(folder)
        (folder / "1.txt").write_text("1")
        await until({"0.txt": "0", "1.txt": "1"})
    assert [issue.path for issue in watch.reports[1].failed] == [folder]


async def test_a_file_that_fails_does_not_stop_the_others(folder: Path, way: dict[str, float]) -> None:
    async with watching(folder, **way) as watch:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("x")
        (folder / "a\\b.txt").write_text("x")
        (folder / "0.txt").write_text("0")
        await until({"0.txt": "0"})
        async with asyncio.timeout(SOON):
            while sum(len(report.failed) for report in watch.reports) < 2:
                await asyncio.sleep(0.02)
    issues = [issue for report in watch.reports for issue in report.failed]
    assert sorted(issue.reason for issue in issues) == [Reason.INVALID_KEY, Reason.NOT_UTF8]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"key": "../x"}, InvalidKey),
        ({"key": 1}, TypeError),
        ({"exclude": "*.tmp"}, TypeError),
        ({"exclude": ["a{b"]}, ValueError),
        ({"settle": -1}, ValueError),
        ({"settle": "1"}, TypeError),
        ({"poll": 0}, ValueError),
        ({"poll": float("nan")}, ValueError),
        ({"when_exists": "Done.txt"}, ValueError),
        ({"when_exists": "{folder}"}, ValueError),
        ({"when_exists": Path("{folder}/x")}, TypeError),
    ],
)
async def test_wrong_arguments_are_refused_at_the_call(folder: Path, wrong: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        inhaul.watch(folder, **wrong)


async def test_what_cannot_be_watched_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "file").write_text("x")
    for path, error in ((tmp_path / "none", FileNotFoundError), (folder / "file", NotADirectoryError)):
        with pytest.raises(error):
            await anext(inhaul.watch(path))

"""An ingest of unchanged files: the registry is not asked about each of them, and its changes are not missed."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

import inhaul
from inhaul.hashing import hash_dir
from inhaul.settings import settings


@pytest.fixture
async def data(tmp_path: Path, instance: inhaul.Instance) -> AsyncIterator[Path]:
    """A folder outside the storage with 30 files that are registered and remembered."""
    folder = tmp_path / "data"
    await asyncio.to_thread(_fill, folder)
    if not (settings.cache_dir / "memo").exists():
        pytest.skip("the temporary folder is on a file system whose times the memo does not trust")
    report = await inhaul.ingest(folder)
    assert report.counts["new"] == 30
    yield folder


def _fill(folder: Path) -> None:
    folder.mkdir()
    for number in range(30):
        path = folder / str(number % 3) / f"{number:02}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(100))
    time.sleep(2.05)
    hash_dir(folder)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collects the statements that are sent to any database."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _asks_for_rows(sent: list[str]) -> bool:
    return any("json" in statement for statement in sent)


async def _counts(folder: Path) -> tuple[dict[str, int], bool]:
    """Ingests a folder. Returns the counts, and whether rows were asked for."""
    with statements() as sent:
        report = await inhaul.ingest(folder)
    counts = {str(status): count for status, count in report.counts.items() if count}
    if report.failed:
        counts |= {str(issue.reason): 1 for issue in report.failed}
    return counts, _asks_for_rows(sent)


async def test_no_rows_are_asked_for_if_nothing_changed(data: Path) -> None:
    assert await _counts(data) == ({"unchanged": 30}, False)
    report = await inhaul.ingest(data)
    assert report.bytes == 30 * 100


async def test_a_list_and_a_run_still_get_the_rows(data: Path) -> None:
    saved = await inhaul.Artifact.from_dir(data).save()
    assert {artifact.key for artifact in saved} == {str(path.relative_to(data.parent)) for path in data.rglob("*.csv")}
    assert all(artifact.id for artifact in saved)
    run = await inhaul.Run(await inhaul.Transform(name="again").save()).save()
    await inhaul.ingest(data, run=run)
    first = await inhaul.Artifact.filter(key="data/0/00.csv").one()
    assert [one.id for one in await first.previous_runs.all()] == [run.id]


async def test_changes_of_the_registry_are_not_missed(data: Path) -> None:
    first = await inhaul.Artifact.filter(key="data/0/00.csv").one()
    first.description = "the first"
    await first.save()
    assert await _counts(data) == ({"unchanged": 30}, False)
    await first.delete()
    assert await _counts(data) == ({"unchanged": 29, "trashed": 1}, True)
    await first.restore()
    assert await _counts(data) == ({"unchanged": 30}, False)
    await first.delete()
    await first.delete(permanent=True)
    assert await _counts(data) == ({"unchanged": 29, "new": 1}, True)
    assert await _counts(data) == ({"unchanged": 30}, False)
    second = await inhaul.Artifact.filter(key="data/0/03.csv").one()
    (data.parent / "other.csv").write_text("a,b\n")
    await second.replace(data.parent / "other.csv")
    assert await _counts(data) == ({"unchanged": 29, "new_version": 1}, True)
    assert await _counts(data) == ({"unchanged": 30}, False)


async def test_changes_of_the_folder_are_not_missed(data: Path) -> None:
    (data / "1" / "01.csv").rename(data / "1" / "renamed.csv")
    (data / "2").rename(data / "moved")
    assert await _counts(data) == ({"unchanged": 19, "new": 11}, True)
    (data / "0" / "00.csv").write_bytes(os.urandom(100))
    assert await _counts(data) == ({"unchanged": 29, "new_version": 1}, True)
    await asyncio.to_thread(shutil.rmtree, data / "moved")
    assert (await _counts(data))[0] == {"unchanged": 20}


async def test_a_sample_is_read_and_compared(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhaul.hashing.memo.SAMPLE", 2)
    counts, asked = await _counts(data)
    assert (counts, asked) == ({"unchanged": 30}, True), "about the sample"


async def test_another_registry_gets_all_files(data: Path, tmp_path: Path) -> None:
    async with inhaul.connect(storage=tmp_path / "another"):
        assert (await _counts(data))[0] == {"new": 30}

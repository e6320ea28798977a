"""A file is read only in the state in which it was found complete."""

import os
from pathlib import Path

import pytest

from inhaul import Artifact, Instance, Reason, Status, ingest
from inhaul.filesystem import has_writers, state_of
from inhaul.ingestion.path_list import Entry
from lists import counts, failed

SIZES = {"tiny": 100, "small": 40_000, "one part": 1 << 20, "parts": 9 << 20}


def entry(path: Path) -> Entry:
    seen = state_of(str(path))
    assert seen is not None
    return Entry(os.fsencode(path), state=seen[0])


@pytest.fixture(params=["copied", "in place"])
def tree(request: pytest.FixtureRequest, instance: Instance, tmp_path: Path) -> Path:
    folder = tmp_path / "in" if request.param == "copied" else Path(instance.root, "in")
    folder.mkdir(parents=True)
    for name, size in SIZES.items():
        (folder / name).write_bytes(b"a" * size)
    return folder


async def test_a_file_in_another_state_is_not_read(tree: Path) -> None:
    seen = [entry(tree / name) for name in SIZES]
    for name in SIZES:
        with (tree / name).open("r+b") as file:
            file.write(b"b")
    report = await ingest(tree, paths=iter(seen))
    assert (counts(report), failed(report)) == ({}, dict.fromkeys(SIZES, Reason.CHANGED))
    report = await ingest(tree, paths=iter(entry(tree / name) for name in SIZES))
    assert (counts(report), failed(report)) == ({Status.NEW: 4}, {})
    assert await Artifact.filter().count() == 4


async def test_a_remembered_file_in_another_state_is_not_taken(tree: Path) -> None:
    await ingest(tree)
    seen = [Entry(one.path, state=(*one.state[:2], one.state[2] - 1)) for one in (entry(tree / name) for name in SIZES)]
    assert failed(await ingest(tree, paths=iter(seen))) == dict.fromkeys(SIZES, Reason.CHANGED)


def test_who_has_a_file_open_to_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        assert has_writers(str(path)) is True
        file.write(b"x")
    with path.open("rb"):
        assert has_writers(str(path)) is False
    assert has_writers(str(tmp_path / "none")) is None

"""Objects in a local storage are loaded only if they have the registered size and kind."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

import inhaul
import inhaul.sync as ih
from inhaul import Artifact
from inhaul.errors import ObjectChanged, ObjectDamaged, ObjectMissing


def file(path: Path, text: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("change", ["longer", "pipe", "folder"])
async def test_a_local_object_that_cannot_be_what_is_registered_is_not_loaded(
    instance: inhaul.Instance, tmp_path: Path, change: str
) -> None:
    stored = await Artifact(file(tmp_path / "a.txt"), key="a.txt").save()
    in_place = await Artifact(file(tmp_path / "storage" / "b.txt")).save()
    for artifact, error in ((stored, ObjectDamaged), (in_place, ObjectChanged)):
        assert await artifact.load() == "content"
        path = artifact.path
        path.unlink()
        if change == "longer":
            path.write_text("content and more")
        elif change == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        for verb in (artifact.load, artifact.cache):
            with pytest.raises(error, match=f"artifact {artifact.uid} is a file with 7 bytes"):
                await asyncio.wait_for(verb(), 10)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(ObjectMissing, match=artifact.uid):
            await artifact.load()


async def test_a_local_folder_that_lost_a_file_is_not_loaded(instance: inhaul.Instance, tmp_path: Path) -> None:
    for name in ("a", "b"):
        file(tmp_path / "run" / name)
    artifact = await Artifact(tmp_path / "run", key="run").save()
    assert (await artifact.cache()).is_dir()
    (artifact.path / "b").unlink()
    with pytest.raises(ObjectDamaged, match=r"a folder of 1 files with 7 bytes, but .* a folder of 2 files"):
        await artifact.cache()


async def test_a_record_from_before_its_content_was_replaced_loads_the_new_one(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    stale = await Artifact(file(tmp_path / "storage" / "b.txt")).save()
    await (await Artifact.get(stale.uid)).replace(file(tmp_path / "new.txt", "other content"))
    assert await stale.load() == "other content"


def test_the_blocking_api_does_not_load_a_damaged_object(tmp_path: Path) -> None:
    with ih.connect(storage=tmp_path / "storage"):
        artifact = ih.Artifact(file(tmp_path / "a.txt"), key="a.txt").save()
        artifact.path.write_text("c")
        with pytest.raises(ObjectDamaged, match="a file with 1 bytes"):
            artifact.load()

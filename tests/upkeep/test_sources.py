"""Objects that went missing are found, and stored again from the folder that they were made from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import inhaul
import inhaul.sync as ih
from inhaul import Artifact, connect, verify
from inhaul.upkeep.reports import Defect
from trees import write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.txt", "d/a.txt", "d/e/b.txt", "empty"):
        write(tmp_path / "plates" / name, "" if name == "empty" else name)
    return tmp_path / "plates"


@pytest.mark.parametrize("key", [None, "experiment/1"])
async def test_objects_that_ingest_takes_for_unchanged_are_stored_again_from_the_folder(
    tmp_path: Path, tree: Path, key: str | None
) -> None:
    async with connect(tmp_path / "storage"):
        artifacts = [*await Artifact.from_dir(tree, key).save()]
        artifacts[0].path.unlink()
        artifacts[1].path.write_text("D/A.TXT")
        artifacts[2].path.unlink()
        assert (await inhaul.ingest(tree, key)).counts["unchanged"] == 4, "it trusts the registry"
        report = await verify(repair=True)
        assert {finding.uid: finding.repaired for finding in report.findings} == {
            artifact.uid: False for artifact in artifacts[:3]
        }
        assert all("as source" in finding.detail for finding in report.findings)
        report = await verify(repair=True, source=tree)
        assert report.ok
        assert {finding.defect for finding in report.findings} == {Defect.MISSING, Defect.ALTERED}
        assert all(f"stored again from {tree}" in finding.detail for finding in report.findings)
        assert [await artifact.load() for artifact in artifacts[:3]] == ["a.txt", "d/a.txt", "d/e/b.txt"]
        assert (await verify()).findings == []


async def test_only_equal_files_are_taken_from_the_folder(tmp_path: Path, tree: Path) -> None:
    async with connect(tmp_path / "storage"):
        changed, piped, gone, empty = await Artifact.from_dir(tree).save()
        for artifact in (changed, piped, gone, empty):
            artifact.path.unlink()
        write(tree / "a.txt", "A.txt")
        (tree / "d" / "a.txt").unlink()
        os.mkfifo(tree / "d" / "a.txt")
        shutil.rmtree(tree / "d" / "e")
        report = await verify(repair=True, source=str(tree))
        assert {finding.uid: finding.repaired for finding in report.findings} == {
            changed.uid: False,
            piped.uid: False,
            gone.uid: False,
            empty.uid: True,
        }


async def test_one_artifact_is_repaired_from_its_file_or_folder(tmp_path: Path, tree: Path) -> None:
    async with connect(tmp_path / "storage"):
        file = await Artifact(tree / "a.txt", description="without a key").save()
        folder = await Artifact(tree / "d", key="run/d").save()
        for artifact, sources in ((file, [tree / "a.txt"]), (folder, [tree / "d", tree])):
            for source in sources:
                shutil.rmtree(artifact.path) if artifact.path.is_dir() else artifact.path.unlink()
                assert not (await artifact.verify(repair=True)).ok
                report = await artifact.verify(repair=True, source=source)
                assert [finding.repaired for finding in report.findings] == [True]
                assert (await artifact.verify()).findings == []


async def test_a_source_that_cannot_be_one_is_refused(tmp_path: Path, tree: Path) -> None:
    async with connect(tmp_path / "storage"):
        artifact = await Artifact(tree / "a.txt", key="a.txt").save()
        for call in (verify, artifact.storage.verify, artifact.verify):
            with pytest.raises(ValueError, match="pass repair=True, too"):
                await call(source=tree)
            with pytest.raises(FileNotFoundError, match="no such file or folder"):
                await call(repair=True, source=tmp_path / "none")
            with pytest.raises(ValueError, match="on this machine"):
                await call(repair=True, source="s3://bucket/x")
            with pytest.raises(TypeError, match="is not a path"):
                await call(repair=True, source=5)  # type: ignore[arg-type]


def test_the_blocking_api_and_the_command_take_a_source_too(tmp_path: Path, tree: Path) -> None:
    with ih.connect(tmp_path / "storage") as instance:
        artifact = ih.Artifact.from_dir(tree).save()[0]
        artifact.path.unlink()
        assert ih.verify(repair=True, source=tree).ok
        artifact.path.unlink()
        assert artifact.verify(repair=True, source=tree).ok
        artifact.path.unlink()
        assert str(tmp_path / "storage") in repr(instance)
    command = [Path(sys.executable).parent / "inhaul", "verify", "--repair", "--storage", tmp_path / "storage"]
    done = subprocess.run([*command, "--source", tree], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("repaired missing\t")

"""A link names an artifact, and its target gives the bytes, as in caches of Hugging Face and DVC."""

import asyncio
import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import inhaul
import inhaul.sync as twin
from commands import COMMAND
from inhaul import Artifact, Feature, hashing

TABLE = pd.DataFrame({"n": [1, 2]})

pytestmark = pytest.mark.filterwarnings("ignore:Not registered as features:UserWarning")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A folder of links to files without suffixes."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    TABLE.to_parquet(blobs / "0a")
    ad.AnnData(np.eye(2, dtype="f4"), obs=TABLE.set_axis(["a", "b"])).write_h5ad(blobs / "0b")
    (blobs / "0c").write_bytes(gzip.compress(TABLE.to_csv(index=False).encode()))
    ad.AnnData(np.eye(3, dtype="f4")).write_zarr(blobs / "0d")
    for name, blob in {"t.parquet": "0a", "a.h5ad": "0b", "t.csv.gz": "0c", "a.zarr": "0d"}.items():
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_the_name_of_a_link_is_the_name_of_the_artifact(
    instance: inhaul.Instance, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, accessor, rows in (
        ("t.parquet", "DataFrame", 2),
        ("t.csv.gz", "DataFrame", None),
        ("a.h5ad", "AnnData", 2),
        ("a.zarr", "AnnData", 3),
    ):
        artifact = await Artifact(snapshot / name, key=name).save()
        assert (artifact.suffix, artifact.accessor) == ("".join(Path(name).suffixes), accessor)
        assert artifact.n_observations == rows
        loaded = await artifact.load()
        assert loaded.shape[0] == (rows or 2)
        assert (await artifact.backed()) is not None
        unnamed = await Artifact(snapshot / name, description="found by its content")
        assert unnamed == artifact
    monkeypatch.chdir(snapshot)
    assert (await Artifact("t.parquet", key="x/t.parquet").save()).suffix == ".parquet"


def tree(folder: Path) -> dict[str, bytes]:
    """Returns the files below a folder, also those behind links."""
    names = (Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
@pytest.mark.parametrize("staged", [False, True])
async def test_a_snapshot_of_links_is_taken_by_their_own_names(
    instance: inhaul.Instance, snapshot: Path, staged: bool
) -> None:
    refused = await Artifact.from_dir(snapshot, follow_symlinks=True).save()
    assert not refused
    assert {issue.path.name: issue.reason for issue in refused.skipped} == dict.fromkeys(
        ("t.parquet", "a.h5ad", "t.csv.gz", "a.zarr"), "outside"
    )
    assert f"outside of {snapshot}" in str(refused.skipped[0].error)

    made = Artifact.from_dir(snapshot, "snap", follow_symlinks="anywhere")
    if staged:
        await made
    artifacts = await made.save()
    expected = await asyncio.to_thread(tree, snapshot)
    assert {it.key: await asyncio.to_thread((await it.cache()).read_bytes) for it in artifacts} == {
        f"snap/{name}": content for name, content in expected.items()
    }
    assert (artifacts.failed, artifacts.skipped) == ([], [])
    pd.testing.assert_frame_equal(await (await Artifact.filter(key="snap/t.parquet").one()).load(), TABLE)
    await asyncio.to_thread(shutil.rmtree, snapshot.parents[1] / "blobs")  # what was stored is a copy
    assert (await inhaul.verify(read=True)).ok
    gone = await Artifact.from_dir(snapshot, "snap", follow_symlinks="anywhere").save()
    assert {issue.reason for issue in gone.failed} == {"vanished"}
    assert len(gone.failed) == 4


async def test_two_links_to_one_target_are_two_artifacts_unless_duplicates_are_dropped(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_text("x")
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).symlink_to("../blob")
    (tmp_path / "d" / "c").symlink_to("b")
    dropped = await Artifact.from_dir(tmp_path / "d", "one", duplicates="drop", follow_symlinks="anywhere").save()
    assert [it.key for it in dropped] == ["one/a"]
    report = await inhaul.ingest(tmp_path / "d", "all", follow_symlinks="anywhere")
    assert report.counts["new"] == 3
    assert [it.key async for it in Artifact.filter(key__startswith="all/").order_by("key")] == [
        "all/a", "all/b", "all/c",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_links_within_a_storage_stay_what_they_are(instance: inhaul.Instance, snapshot: Path) -> None:
    root = Path(instance.root) / "cache"
    await asyncio.to_thread(shutil.copytree, snapshot.parents[1], root, symlinks=True)
    folder = root / "snapshots" / "main"
    (folder / "out.txt").symlink_to(snapshot / "t.csv.gz")
    made = await Artifact.from_dir(folder, follow_symlinks="anywhere").save()
    key = "cache/snapshots/main/"
    expected = await asyncio.to_thread(tree, folder)
    assert {it.key for it in made} == {f"{key}{name}" for name in expected} - {f"{key}out.txt"}
    assert [(issue.path.name, str(issue.reason)) for issue in made.skipped] == [("out.txt", "outside")]
    assert f"outside of {instance.root}" in str(made.skipped[0].error)

    table = await Artifact(folder / "t.parquet").save()
    assert (table.key, table.suffix, table.key_is_virtual) == (f"{key}t.parquet", ".parquet", False)
    assert table == await Artifact.filter(key=f"{key}t.parquet").one()
    pd.testing.assert_frame_equal(await table.load(), TABLE)
    whole = await Artifact(folder / "a.zarr").save()
    assert (whole.key, (await whole.load()).shape) == (f"{key}a.zarr", (3, 3))
    blob = await Artifact(root / "blobs" / "0a").save()
    assert (blob.key, blob.suffix, blob.hash) == ("cache/blobs/0a", "", table.hash)
    assert (await inhaul.verify(read=True)).ok

    await table.delete(permanent=True, storage=True)  # removes the link, not its target
    assert not os.path.lexists(folder / "t.parquet")
    assert (await inhaul.verify(read=True)).ok
    linked = await Artifact.filter(key=f"{key}a.h5ad").one()
    (snapshot / "new.h5ad").write_bytes(b"new")
    await linked.replace(snapshot / "new.h5ad")
    assert ((folder / "a.h5ad").read_bytes(), (folder / "a.h5ad").is_symlink()) == (b"new", False)
    with pytest.raises(ValueError, match="links in a folder are not followed"):
        await Artifact(folder, follow_symlinks="anywhere")


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_a_snapshot_can_be_one_artifact(instance: inhaul.Instance, snapshot: Path) -> None:
    for follow in (False, True):
        with pytest.raises(ValueError, match="without files"):
            await Artifact(snapshot, key="snap", follow_symlinks=follow)
    artifact = await Artifact(snapshot, key="snap", follow_symlinks="anywhere").save()
    expected = await asyncio.to_thread(tree, snapshot)
    assert (artifact.n_objects, artifact.size) == (len(expected), sum(map(len, expected.values())))
    assert await asyncio.to_thread(tree, await artifact.cache()) == expected
    assert artifact.hash == hashing.hash_dir(snapshot, follow_symlinks="anywhere").hash
    assert (await inhaul.verify(read=True)).ok
    assert (await Artifact(snapshot, key="snap", follow_symlinks="anywhere")) == artifact

    (snapshot / "inside.csv").write_text("x\n")
    (snapshot / "link.csv").symlink_to("inside.csv")
    inside = await Artifact(snapshot, key="inside", follow_symlinks=True).save()
    assert set(await asyncio.to_thread(tree, await inside.cache())) == {"inside.csv", "link.csv"}
    for wrong in ("yes", 1, None):
        with pytest.raises(TypeError, match="follow_symlinks"):
            Artifact(snapshot, key="snap", follow_symlinks=wrong)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_the_twin_and_the_command_line_follow_links_anywhere(snapshot: Path, tmp_path: Path) -> None:
    with twin.connect(storage=tmp_path / "storage"):
        assert len(twin.Artifact.from_dir(snapshot, follow_symlinks="anywhere").save()) == len(tree(snapshot))
        assert twin.Artifact(snapshot, key="one", follow_symlinks="anywhere").n_objects == len(tree(snapshot))
    for options, status in ((["--follow-symlinks"], 0), (["--follow-symlinks-anywhere"], len(tree(snapshot)))):
        command = ["ingest", str(snapshot), "--key", f"cli{status}", *options, "--storage", str(tmp_path / "storage")]
        done = subprocess.run([COMMAND, *command], capture_output=True, text=True, check=True, timeout=60)
        assert re.search(rf"new +{status}\b", done.stdout), done.stdout


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_links_are_validated_and_replace_by_their_names(instance: inhaul.Instance, snapshot: Path) -> None:
    await Feature("n", "int").save()
    artifact = await Artifact.from_anndata(snapshot / "a.h5ad", "a.h5ad").save()
    assert [feature.name for feature in await artifact.features["obs"].all()] == ["n"]
    table = await Artifact.from_df(TABLE, key="t.parquet").save()
    await table.replace(snapshot / "t.csv.gz")
    assert (table.key, table.suffix) == ("t.csv.gz", ".csv.gz")
    pd.testing.assert_frame_equal(await table.load(), TABLE)
    assert [feature.name for feature in await table.features["columns"].all()] == ["n"]
    with pytest.raises(ValueError, match=r"should end in '.parquet'"):
        await Artifact(snapshot / "t.parquet", key="t.csv")
    await asyncio.to_thread((snapshot / "t.parquet").unlink)
    (snapshot / "t.parquet").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        await Artifact(snapshot / "t.parquet", key="other.parquet")

"""Everything that users do with a storage in a bucket, on each server of each service."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import inhaul
import inhaul.sync as ln
from inhaul import Artifact, Defect, Storage
from inhaul.errors import KeyExists, StorageMissing
from inhaul.hashing import hash_bytes, hash_file
from inhaul.instance import Instance
from places import RemotePlace
from trees import write

BIG = random.Random(0).randbytes((9 << 20) + 5)


@pytest.fixture
def place(cloud_place: RemotePlace) -> RemotePlace:
    return cloud_place


@pytest.fixture
async def instance(place: RemotePlace, tmp_path: Path) -> AsyncIterator[Instance]:
    """The current instance, with its storage on a server."""
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(place.root, url, storage_options=place.options) as instance:
        yield instance


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = random.Random(0)
    for number in range(60):
        write(tmp_path / f"tree/{number // 20}/{number}.bin", rng.randbytes(rng.randrange(10, 3000)))
    write(tmp_path / "tree/large.bin", BIG)
    return tmp_path / "tree"


async def test_files_and_folders_are_stored_and_come_back(
    instance: Instance, place: RemotePlace, tree: Path, tmp_path: Path
) -> None:
    large = await Artifact(tree / "large.bin", key="large.bin").save()
    small = await Artifact(write(tmp_path / "a.txt", "text"), key="a.txt", key_is_virtual=False).save()
    folder = await Artifact(tree / "1", key="folder").save()
    assert (large.verified_by, small.verified_by) == (place.large_verified_by, place.verified_by)
    storage = await Storage.filter(root=place.root).one()
    assert (storage.type, storage.region) == (place.scheme, None)
    assert place.content("a.txt") == b"text"
    assert await small.load() == "text"
    assert (await large.cache()).read_bytes() == BIG
    cached = await folder.cache()
    assert {file.name: file.read_bytes() for file in cached.iterdir()} == {
        file.name: file.read_bytes() for file in (tree / "1").iterdir()
    }
    assert await asyncio.to_thread(large.path.read_bytes) == BIG
    assert await Artifact(large.path).save() == large

    with pytest.raises(KeyExists):
        await Artifact(write(tmp_path / "b.txt", "b"), key="a.txt", key_is_virtual=False, on_duplicate="error").save()
    await small.replace(write(tmp_path / "c.txt", "replaced"))
    assert await small.load() == "replaced"

    assert (await inhaul.verify(read=True)).ok
    await large.delete(permanent=True)
    await small.delete(permanent=True, storage=True)
    await folder.delete(permanent=True)
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert place.contents() == {}


async def test_a_folder_is_ingested_verified_damaged_and_repaired(
    instance: Instance, place: RemotePlace, tree: Path
) -> None:
    report = await inhaul.ingest(tree)
    assert (report.files, report.failed) == (61, [])
    again = await inhaul.ingest(tree)
    assert again.counts["new"] == 0
    saved = await Artifact.from_dir(tree).save()
    assert len(await saved.cache()) == 61
    stored = place.contents()
    assert sorted(stored.values()) == sorted(file.read_bytes() for file in tree.rglob("*.bin"))
    assert {one.verified_by for one in saved} == {place.verified_by, place.large_verified_by}

    report = await inhaul.verify()
    assert (report.ok, report.checked, report.read) == (True, 61, 0)  # the server states the hash of each

    key, content = next((key, content) for key, content in stored.items() if len(content) < 3000)
    place.remove(key)
    found = (await inhaul.verify()).findings
    assert [one.defect for one in found] == [Defect.MISSING]
    place.put(key, b"?" * len(content))
    place.put(f".inhaul/0/{'0' * 20}.bin", b"extra")
    found = (await inhaul.verify()).findings
    assert {one.defect for one in found} == {Defect.ALTERED, Defect.EXTRA}

    lost = next(one for one in saved if one.object_key == key)
    await Artifact(tree.parent / lost.key, key=lost.key).save()  # stores again what is not as registered
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert (await inhaul.verify()).ok


async def test_what_is_there_already_is_registered_in_place(
    instance: Instance, place: RemotePlace, tmp_path: Path
) -> None:
    outside = replace(place, bucket=place.server.bucket(), prefix="raw")
    for key, data in (("a.txt", b"text"), ("b c.txt", b"more"), ("large.bin", BIG)):
        outside.put(key, data)

    address = outside.root.replace("raw?", "raw/a.txt?")
    one = await Artifact(address).save()
    assert (one.hash, one.hash_type) == (hash_bytes(b"text").hash, "md5")
    assert await one.load() == "text"
    for alias in place.aliases:
        assert await Artifact(address.replace(place.scheme, alias, 1)) == one
    large = await Artifact(outside.path("large.bin")).save()
    assert large.hash == hash_file(write(tmp_path / "copy", BIG), "md5-whole").hash
    assert (await large.cache()).read_bytes() == BIG
    listed = await Artifact.from_dir(outside.root).save()
    assert sorted(artifact.key for artifact in listed) == ["raw/a.txt", "raw/b c.txt", "raw/large.bin"]
    await one.delete(permanent=True)
    assert sorted(outside.contents()) == ["a.txt", "b c.txt", "large.bin"], "they are not ours"


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_parts_are_read_without_the_rest(instance: Instance, tmp_path: Path) -> None:
    adata = anndata.AnnData(
        np.arange(600.0).reshape(60, 10),
        obs=pd.DataFrame({"kind": ["a", "b"] * 30}, index=[f"o{number}" for number in range(60)]),
    )
    other = anndata.AnnData(adata.X + 1, obs=adata.obs)
    adata.write_h5ad(tmp_path / "one.h5ad")
    adata.write_zarr(tmp_path / "two.zarr")
    table = pd.DataFrame({"number": range(1000)})
    table.to_parquet(tmp_path / "three.parquet")
    for data, given in (
        *((adata, Artifact(tmp_path / name, key=name)) for name in ("one.h5ad", "two.zarr")),
        *((other, Artifact(other, key=f"other.{form}", format=form)) for form in ("h5ad", "zarr")),
    ):
        artifact = await given.save()
        async with await artifact.backed() as backed:
            assert backed.shape == (60, 10)
            part = await backed[3:5].to_memory()
        assert part.X.tolist() == data.X[3:5].tolist()
    artifact = await Artifact(tmp_path / "three.parquet", key="three.parquet").save()
    dataset = await artifact.backed()
    assert (await asyncio.to_thread(dataset.count_rows)) == 1000
    assert (await artifact.load()).equals(table)


async def test_an_artifact_is_uploaded_later(place: RemotePlace, tmp_path: Path) -> None:
    url, local = f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "local"
    async with inhaul.connect(place.root, url, storage_options=place.options, local_storage=local):
        artifact = await Artifact(write(tmp_path / "a.bin", BIG), key="a.bin").save()
        assert place.contents() == {}
        await artifact.save(upload=True)
        assert list(place.contents().values()) == [BIG]
        assert (await artifact.cache()).read_bytes() == BIG


@pytest.fixture
def _environment(place: RemotePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets in is in the environment."""
    for name, value in place.server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_environment")
def test_the_twin_does_the_same_with_the_environment(place: RemotePlace, tmp_path: Path) -> None:
    with ln.connect(place.root, f"sqlite:///{tmp_path / 'registry.db'}"):
        artifact = ln.Artifact(write(tmp_path / "a.txt", "text"), key="a.txt").save()
        assert artifact.load() == "text"
        assert artifact.path.read_bytes() == b"text"
        assert ln.testremote(place.root).ok


@pytest.mark.usefixtures("_environment")
async def test_a_test_tells_what_a_server_lacks(place: RemotePlace) -> None:
    report = await inhaul.testremote(place.root.replace(place.scheme, (place.scheme, *place.aliases)[-1], 1))
    assert report.url == place.root
    lacking = {ability.name: ability.detail for ability in report.abilities if not ability.works}
    assert lacking.keys() == place.server.lacks
    assert all(lacking.values())
    assert report.ok
    assert place.server.contents(place.bucket, place.prefix) == {}
    with pytest.raises(StorageMissing, match=f"no {place.address.holder} 'there-is-none'"):
        await inhaul.testremote(replace(place, bucket="there-is-none").root)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "cloud_place", ["strict_gcs", "fake_gcs", "emulator", "strict_azure", "azurite"], indirect=True
)
async def test_fsspec_reads_what_we_wrote_and_we_what_it_wrote(place: RemotePlace) -> None:
    """With gcsfs or adlfs."""
    count = 1000 if "SOAK" in os.environ else 60
    rng = random.Random(0)
    keys = {"".join(rng.choices(place.letters, k=rng.randrange(1, 12))) for _ in range(count)} | {"a::b"}
    store = place.store()
    keys = {key for key in keys if not store.key_problem(key)}
    assert len(keys) > count / 2
    for key in sorted(keys):
        content = key.encode()
        await store.put_bytes(content, f"ours/{key}", hash_bytes(content))
        assert await asyncio.to_thread(store.path(f"ours/{key}").read_bytes) == content, key
        await asyncio.to_thread(store.path(f"theirs/{key}").write_bytes, content)
        assert await store.read(f"theirs/{key}") == content
    listed = [one.key.removeprefix("theirs/") async for page in store.list("theirs/") for one in page]
    assert listed == sorted(keys, key=str.encode)
    await store.aclose()

"""Everything that users do with a storage, on each server of Google Cloud Storage."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from upath import UPath

import inhaul
import inhaul.sync as ln
from gcs_places import GcsPlace
from gcs_servers import GcsServer
from inhaul import Artifact, Defect, Storage
from inhaul.errors import KeyExists, StorageMissing
from inhaul.instance import Instance
from trees import write

BIG = random.Random(0).randbytes((9 << 20) + 5)

LACKS = {
    "strict": set[str](),
    "fake-gcs-server": {
        "refuse a wrong MD5",
        "refuse to read or delete another generation",
        "refuse a wrong CRC32C",
        "say what it has of an upload",
    },
    "emulator": {
        "keep an existing object (ifGenerationMatch)",
        "refuse to read or delete another generation",
        "refuse a wrong CRC32C",
        "cancel an upload",
    },
}
"""Abilities that the servers lack, and that inhaul does not need."""


@pytest.fixture
async def gcs_instance(gcs_place: GcsPlace, tmp_path: Path) -> AsyncIterator[Instance]:
    """The current instance, with its storage on a server of Google Cloud Storage."""
    async with inhaul.connect(gcs_place.root, f"sqlite:///{tmp_path / 'registry.db'}") as instance:
        yield instance


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = random.Random(0)
    for number in range(60):
        write(tmp_path / f"tree/{number // 20}/{number}.bin", rng.randbytes(rng.randrange(10, 3000)))
    write(tmp_path / "tree/large.bin", BIG)
    return tmp_path / "tree"


async def test_files_and_folders_are_stored_and_come_back(
    gcs_instance: Instance, gcs_place: GcsPlace, tree: Path, tmp_path: Path
) -> None:
    large = await Artifact(tree / "large.bin", key="large.bin").save()
    small = await Artifact(write(tmp_path / "a.txt", "text"), key="a.txt", key_is_virtual=False).save()
    folder = await Artifact(tree / "1", key="folder").save()
    assert (large.verified_by, small.verified_by) == ("checksum", "etag")
    storage = await Storage.filter(root=gcs_place.root).one()
    assert (storage.type, storage.region) == ("gs", None)
    assert gcs_place.content("a.txt") == b"text"
    assert await small.load() == "text"
    assert (await large.cache()).read_bytes() == BIG
    cached = await folder.cache()
    assert {file.name: file.read_bytes() for file in cached.iterdir()} == {
        file.name: file.read_bytes() for file in (tree / "1").iterdir()
    }
    assert await asyncio.to_thread(large.path.read_bytes) == BIG

    with pytest.raises(KeyExists):
        await Artifact(write(tmp_path / "b.txt", "b"), key="a.txt", key_is_virtual=False, on_duplicate="error").save()
    await small.replace(write(tmp_path / "c.txt", "replaced"))
    assert await small.load() == "replaced"

    assert (await inhaul.verify(read=True)).ok
    await large.delete(permanent=True)
    await small.delete(permanent=True, storage=True)
    await folder.delete(permanent=True)
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert gcs_place.contents() == {}


async def test_a_folder_is_ingested_verified_damaged_and_repaired(
    gcs_instance: Instance, gcs_place: GcsPlace, tree: Path
) -> None:
    report = await inhaul.ingest(tree)
    assert (report.files, report.failed) == (61, [])
    again = await inhaul.ingest(tree)
    assert again.counts["new"] == 0
    saved = await Artifact.from_dir(tree).save()
    assert len(await saved.cache()) == 61
    stored = gcs_place.contents()
    assert sorted(stored.values()) == sorted(file.read_bytes() for file in tree.rglob("*.bin"))
    assert {one.verified_by for one in saved} == {"etag", "checksum"}

    report = await inhaul.verify()
    assert (report.ok, report.checked, report.read) == (True, 61, 0)

    store = gcs_place.store()
    key, content = next((key, content) for key, content in stored.items() if len(content) < 3000)
    await store.remove([key])
    found = (await inhaul.verify()).findings
    assert [one.defect for one in found] == [Defect.MISSING]
    await store.put_bytes(b"?" * len(content), key, inhaul.hashing.hash_bytes(b"?" * len(content)))
    await store.put_bytes(b"extra", f".inhaul/0/{'0' * 20}.bin", inhaul.hashing.hash_bytes(b"extra"))
    found = (await inhaul.verify()).findings
    assert {one.defect for one in found} == {Defect.ALTERED, Defect.EXTRA}
    await store.aclose()

    lost = next(one for one in saved if one.object_key == key)
    await Artifact(tree.parent / lost.key, key=lost.key).save()  # stores again what is not as registered
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert (await inhaul.verify()).ok


async def test_what_is_there_already_is_registered_in_place(
    gcs_instance: Instance, gcs_place: GcsPlace, tmp_path: Path
) -> None:
    outside = gcs_place._replace(bucket=gcs_place.server.bucket(), prefix="raw")
    for key, data in (("a.txt", b"text"), ("b c.txt", b"more"), ("large.bin", BIG)):
        await asyncio.to_thread(gcs_place.server.put, outside.bucket, f"raw/{key}", data)

    def address(key: str) -> str:
        return f"gs://{outside.bucket}/raw/{key}?endpoint_url={gcs_place.server.endpoint_url}"

    one = await Artifact(address("a.txt")).save()
    assert (one.hash, one.hash_type) == (inhaul.hashing.hash_bytes(b"text").hash, "md5")
    assert await one.load() == "text"
    assert await Artifact(address("a.txt").replace("gs://", "gcs://")) == one
    large = await Artifact(
        UPath(f"gs://{outside.bucket}/raw/large.bin", endpoint_url=gcs_place.server.endpoint_url)
    ).save()
    assert large.hash == inhaul.hashing.hash_file(write(tmp_path / "copy", BIG), "md5-whole").hash
    assert (await large.cache()).read_bytes() == BIG
    listed = await Artifact.from_dir(f"gs://{outside.bucket}/raw?endpoint_url={gcs_place.server.endpoint_url}").save()
    assert sorted(artifact.key for artifact in listed) == ["raw/a.txt", "raw/b c.txt", "raw/large.bin"]
    await one.delete(permanent=True)
    assert sorted(outside.contents()) == ["a.txt", "b c.txt", "large.bin"], "they are not ours"


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_parts_are_read_without_the_rest(gcs_instance: Instance, tmp_path: Path) -> None:
    adata = anndata.AnnData(
        np.arange(600.0).reshape(60, 10),
        obs=pd.DataFrame({"kind": ["a", "b"] * 30}, index=[f"o{number}" for number in range(60)]),
    )
    adata.write_h5ad(tmp_path / "one.h5ad")
    adata.write_zarr(tmp_path / "two.zarr")
    table = pd.DataFrame({"number": range(1000)})
    table.to_parquet(tmp_path / "three.parquet")
    for name in ("one.h5ad", "two.zarr"):
        artifact = await Artifact(tmp_path / name, key=name).save()
        async with await artifact.backed() as backed:
            assert backed.shape == (60, 10)
            part = await backed[3:5].to_memory()
        assert part.X.tolist() == adata.X[3:5].tolist()
    artifact = await Artifact(tmp_path / "three.parquet", key="three.parquet").save()
    dataset = await artifact.backed()
    assert (await asyncio.to_thread(dataset.count_rows)) == 1000
    assert (await artifact.load()).equals(table)


async def test_an_artifact_is_uploaded_later(gcs_place: GcsPlace, tmp_path: Path) -> None:
    url, local = f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "local"
    async with inhaul.connect(gcs_place.root, url, local_storage=local):
        artifact = await Artifact(write(tmp_path / "a.bin", BIG), key="a.bin").save()
        assert gcs_place.contents() == {}
        await artifact.save(upload=True)
        assert list(gcs_place.contents().values()) == [BIG]
        assert (await artifact.cache()).read_bytes() == BIG


def test_the_twin_does_the_same(gcs_place: GcsPlace, tmp_path: Path) -> None:
    with ln.connect(gcs_place.root, f"sqlite:///{tmp_path / 'registry.db'}"):
        artifact = ln.Artifact(write(tmp_path / "a.txt", "text"), key="a.txt").save()
        assert artifact.load() == "text"
        assert ln.testremote(gcs_place.root).ok


async def test_a_test_tells_what_a_server_lacks(gcs_place: GcsPlace, gcs_server: GcsServer) -> None:
    report = await inhaul.testremote(gcs_place.root.replace("gs://", "gcs://"))
    assert report.url == gcs_place.root
    lacking = {ability.name: ability.detail for ability in report.abilities if not ability.works}
    assert lacking.keys() == LACKS[gcs_server.name]
    assert all(lacking.values())
    assert report.ok
    assert gcs_place.contents() == {}
    with pytest.raises(StorageMissing):
        await inhaul.testremote(f"gs://there-is-none/x?endpoint_url={gcs_server.endpoint_url}")


async def test_gcsfs_reads_what_we_wrote_and_we_what_it_wrote(gcs_place: GcsPlace, tmp_path: Path) -> None:
    count = 1000 if "SOAK" in os.environ else 60
    rng = random.Random(0)
    letters = "abcABC019 +%#?&=~!@$^*()[]{}|;:'\",.<>-_äß漢😀"
    keys = {"".join(rng.choices(letters, k=rng.randrange(1, 12))) for _ in range(count)}
    store = gcs_place.store()
    # The emulator takes a semicolon, as gcsfs sends it, for the end of a key.
    without = ";" if gcs_place.server.name == "emulator" else "/"
    keys = {key for key in keys if store.key_problem(key) is None and without not in key}
    for key in sorted(keys):
        content = key.encode()
        await store.put_bytes(content, f"ours/{key}", inhaul.hashing.hash_bytes(content))
        assert await asyncio.to_thread(store.path(f"ours/{key}").read_bytes) == content
        await asyncio.to_thread(store.path(f"theirs/{key}").write_bytes, content)
        assert await store.read(f"theirs/{key}") == content
    listed = [one.key async for page in store.list("theirs/") for one in page]
    assert listed == sorted(gcs_place.contents(), key=str.encode)[-len(listed) :]
    assert len(listed) == len(keys)
    await store.aclose()

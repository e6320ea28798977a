"""Everything that users do with a storage, on each server of Azure Blob Storage."""

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
from azure_places import Place
from azure_servers import AzureServer
from inhaul import Artifact, Defect, Storage
from inhaul.errors import KeyExists, StorageMissing
from inhaul.hashing import hash_bytes, hash_file
from inhaul.instance import Instance
from trees import write

pytest_plugins = ["azure_fixtures"]
pytestmark = pytest.mark.timeout(600)  # the first test may install Azurite

BIG = random.Random(0).randbytes((9 << 20) + 5)

LACKS = {
    "strict": set[str](),
    "azurite": {"state the MD5 of a block"},
}
"""Abilities that the servers lack, and that inhaul does not need."""


@pytest.fixture
async def azure_instance(azure_place: Place, tmp_path: Path) -> AsyncIterator[Instance]:
    """The current instance, with its storage on a server of Azure Blob Storage."""
    url, options = f"sqlite:///{tmp_path / 'registry.db'}", azure_place.server.options
    async with inhaul.connect(str(azure_place.address), url, storage_options=options) as instance:
        yield instance


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = random.Random(0)
    for number in range(60):
        write(tmp_path / f"tree/{number // 20}/{number}.bin", rng.randbytes(rng.randrange(10, 3000)))
    write(tmp_path / "tree/large.bin", BIG)
    return tmp_path / "tree"


async def test_files_and_folders_are_stored_and_come_back(
    azure_instance: Instance, azure_place: Place, tree: Path, tmp_path: Path
) -> None:
    large = await Artifact(tree / "large.bin", key="large.bin").save()
    storage = await Storage.filter(root=str(azure_place.address)).one()
    assert (storage.type, storage.region) == ("az", None)
    small = await Artifact(write(tmp_path / "a.txt", "text"), key="a.txt", key_is_virtual=False).save()
    folder = await Artifact(tree / "1", key="folder").save()
    assert large.verified_by == ("checksum" if azure_place.server.strict else "readback")
    assert small.verified_by == "checksum"
    assert azure_place.content("a.txt") == b"text"
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
    assert azure_place.contents() == {}


async def test_a_folder_is_ingested_verified_damaged_and_repaired(
    azure_instance: Instance, azure_place: Place, tree: Path
) -> None:
    report = await inhaul.ingest(tree)
    assert (report.files, report.failed) == (61, [])
    again = await inhaul.ingest(tree)
    assert again.counts["new"] == 0
    saved = await Artifact.from_dir(tree).save()
    assert len(await saved.cache()) == 61
    stored = azure_place.contents()
    assert sorted(stored.values()) == sorted(file.read_bytes() for file in tree.rglob("*.bin"))

    report = await inhaul.verify()
    assert (report.ok, report.checked, report.read) == (True, 61, 0)  # the metadata state the hash of each

    key, content = next((key, content) for key, content in stored.items() if len(content) < 3000)
    azure_place.remove(key)
    found = (await inhaul.verify()).findings
    assert [one.defect for one in found] == [Defect.MISSING]
    azure_place.put(key, b"?" * len(content))
    azure_place.put(f".inhaul/0/{'0' * 20}.bin", b"extra")
    found = (await inhaul.verify()).findings
    assert {one.defect for one in found} == {Defect.ALTERED, Defect.EXTRA}

    lost = next(one for one in saved if one.object_key == key)
    await Artifact(tree.parent / lost.key, key=lost.key).save()  # stores again what is not as registered
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert (await inhaul.verify()).ok


async def test_an_upload_that_nobody_continues_is_garbage(azure_instance: Instance, azure_place: Place) -> None:
    if azure_place.server.strict is None:
        return  # Azurite does not list it
    artifact = await Artifact(pd.DataFrame({"x": [1]}), key="t.parquet").save()
    key = f".inhaul/0/{artifact.uid}.other.parquet"
    blob = azure_place.server.client(azure_place.container).get_blob_client(azure_place.address.key(key))
    blob.stage_block(f"00001-0123456789abcdef-{'0' * 32}", b"x")
    await asyncio.sleep(1.1)  # times are whole seconds
    assert (await inhaul.gc(older_than=timedelta(0))).uploads == [key]
    assert azure_place.uncommitted(key)
    assert (await inhaul.gc(delete=True, older_than=timedelta(0))).uploads == [key]
    assert azure_place.uncommitted(key) == []
    assert list(azure_place.contents()) == [artifact.object_key]


async def test_what_is_there_already_is_registered_in_place(
    azure_instance: Instance, azure_place: Place, tmp_path: Path
) -> None:
    outside = azure_place._replace(container=azure_place.server.container(), prefix="raw")
    for key, data in (("a.txt", b"text"), ("b c.txt", b"more"), ("large.bin", BIG)):
        outside.put(key, data)

    def address(key: str, scheme: str = "az") -> str:
        return f"{scheme}://{outside.container}/raw/{key}?endpoint_url={outside.address.endpoint_url}"

    one = await Artifact(address("a.txt")).save()
    assert (one.hash, one.hash_type) == (hash_bytes(b"text").hash, "md5")
    assert await one.load() == "text"
    assert await Artifact(address("a.txt", "abfs")) == one
    text = f"BlobEndpoint={outside.address.endpoint_url};AccountName={outside.server.account}"
    large = await Artifact(UPath(f"abfss://{outside.container}/raw/large.bin", connection_string=text)).save()
    assert large.hash == hash_file(write(tmp_path / "copy", BIG), "md5-whole").hash
    assert (await large.cache()).read_bytes() == BIG
    listed = await Artifact.from_dir(address("").replace("raw/", "raw")).save()
    assert sorted(artifact.key for artifact in listed) == ["raw/a.txt", "raw/b c.txt", "raw/large.bin"]
    await one.delete(permanent=True)
    assert sorted(outside.contents()) == ["a.txt", "b c.txt", "large.bin"], "they are not ours"


async def test_parts_are_read_without_the_rest(azure_instance: Instance, tmp_path: Path) -> None:
    adata = anndata.AnnData(
        np.arange(600.0).reshape(60, 10),
        obs=pd.DataFrame({"kind": ["a", "b"] * 30}, index=[f"o{number}" for number in range(60)]),
    )
    table = pd.DataFrame({"number": range(1000)})
    table.to_parquet(tmp_path / "three.parquet")
    for name, form in (("one.h5ad", "h5ad"), ("two.zarr", "zarr")):
        artifact = await Artifact(adata, key=name, format=form).save()
        async with await artifact.backed() as backed:
            assert backed.shape == (60, 10)
            part = await backed[3:5].to_memory()
        assert part.X.tolist() == adata.X[3:5].tolist()
    artifact = await Artifact(tmp_path / "three.parquet", key="three.parquet").save()
    dataset = await artifact.backed()
    assert (await asyncio.to_thread(dataset.count_rows)) == 1000
    assert (await artifact.load()).equals(table)


async def test_an_artifact_is_uploaded_later(azure_place: Place, tmp_path: Path) -> None:
    url, local = f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "local"
    options = azure_place.server.options
    async with inhaul.connect(str(azure_place.address), url, storage_options=options, local_storage=local):
        artifact = await Artifact(write(tmp_path / "a.bin", BIG), key="a.bin").save()
        assert azure_place.contents() == {}
        await artifact.save(upload=True)
        assert list(azure_place.contents().values()) == [BIG]
        assert (await artifact.cache()).read_bytes() == BIG


def test_the_twin_does_the_same_with_the_environment(azure_root: str, tmp_path: Path) -> None:
    with ln.connect(azure_root, f"sqlite:///{tmp_path / 'registry.db'}"):
        artifact = ln.Artifact(write(tmp_path / "a.txt", "text"), key="a.txt").save()
        assert artifact.load() == "text"
        assert artifact.path.read_bytes() == b"text"
        assert ln.testremote(azure_root).ok


async def test_a_test_tells_what_a_server_lacks(azure_root: str, azure_server: AzureServer) -> None:
    report = await inhaul.testremote(azure_root.replace("az://", "abfss://"))
    assert report.url == azure_root
    lacking = {ability.name: ability.detail for ability in report.abilities if not ability.works}
    assert lacking.keys() == LACKS[azure_server.name]
    assert all(lacking.values())
    assert report.ok
    container = azure_root.split("/")[2]
    assert azure_server.contents(container) == {}
    with pytest.raises(StorageMissing, match="no container"):
        await inhaul.testremote(f"az://there-is-none/x?endpoint_url={azure_server.endpoint_url}")


async def test_adlfs_reads_what_we_wrote_and_we_what_it_wrote(azure_place: Place) -> None:
    count = 1000 if "SOAK" in os.environ else 60
    rng = random.Random(0)
    # adlfs searches with the other ones, or drops what follows.
    letters = "abcABC019 +%&=~!@$^()|;:'\",.<>-_\u00e4\u00df\u6f22\U0001f600"
    keys = {"".join(rng.choices(letters, k=rng.randrange(1, 12))) for _ in range(count)}
    store = azure_place.store()
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

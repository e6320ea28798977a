"""Files on the Hugging Face Hub: registered where they are, read with the real huggingface_hub, and never written."""

import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import huggingface_hub.constants
import numpy as np
import pytest

import children
import inhaul
import inhaul.sync
from inhaul import Artifact, Storage
from inhaul.errors import (
    InvalidKey,
    MissingLibrary,
    ObjectChanged,
    ObjectDamaged,
    ObjectRefused,
    StorageDenied,
    StorageMissing,
    StorageUnavailable,
    UnsupportedStorage,
)
from inhaul.hashing import hash_bytes
from inhaul.stores.hf.address import HfAddress
from inhaul.stores.hf.store import HfStore
from inhaul.stores.remote.limiter import Limits
from inhaul.upkeep.reports import Defect
from proxy import FlipReply, Stall, proxy
from strict_hub import LARGE, SIGNATURE, StrictHub, blob_id, strict_hub
from trees import write

REPOSITORY = "datasets/owner/name"
BIG = random.Random(0).randbytes(20 << 20)
QUICK = Limits(no_progress=0.5, give_up=1, backoff=0.02, longest_backoff=0.1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictHub]:
    """A Hub, which huggingface_hub uses."""
    with strict_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        yield hub


@pytest.fixture
async def store(hub: StrictHub) -> AsyncIterator[HfStore]:
    hub.put(REPOSITORY, "README.md", b"readme")
    store = HfStore(HfAddress.parse(f"hf://{REPOSITORY}"), QUICK)
    yield store
    await store.aclose()


async def listed(store: HfStore, prefix: str = "") -> list[str]:
    return [one.key async for page in store.list(prefix) for one in page]


# --- what is registered


@pytest.mark.parametrize("content", [b"x,y\n1,2\n", b"x,y\n" + b"1,2\n" * LARGE], ids=["git", "lfs"])
async def test_a_file_is_registered_where_it_is(instance: inhaul.Instance, hub: StrictHub, content: bytes) -> None:
    hub.put(REPOSITORY, "data/a b.csv", content)
    address = f"hf://{REPOSITORY}/data/a b.csv"
    artifact = await Artifact(address).save()
    assert (artifact.key, artifact.key_is_virtual) == ("data/a b.csv", False)
    assert artifact.size == len(content)
    if len(content) < LARGE:
        assert (artifact.hash_type, artifact.verified_by) == ("etag", "none")
    else:
        assert (artifact.hash, artifact.hash_type) == hash_bytes(content, algorithm="sha256")[:2]
        assert artifact.verified_by == "etag"
    storage = await Storage.filter(root=f"hf://{REPOSITORY}").one()
    assert (artifact.storage, storage.type) == (storage, "hf")
    assert not any("/resolve/" in asked.path for asked in hub.log), "it is not read"
    assert (await artifact.cache()).read_bytes() == content
    assert list((await artifact.load()).columns) == ["x", "y"]
    assert (await artifact.verify()).ok
    report = await inhaul.verify(storage)
    assert (report.ok, report.checked, report.read) == (True, 1, 0)
    assert str(artifact.path) == address
    assert await Artifact(address).save() == artifact


async def test_the_entity_tag_is_the_hash_of_the_content(hub: StrictHub, store: HfStore) -> None:
    small, large = b"small", b"large" * LARGE
    hub.put(REPOSITORY, "small", small)
    hub.put(REPOSITORY, "large", large)
    found = [await store.stat(key) for key in ("small", "large", "none")]
    assert found[2] is None
    assert [one.etag for one in found if one] == [blob_id(small), hashlib.sha256(large).hexdigest()]
    (page,) = [page async for page in store.list()]
    assert [(one.key, one.size, one.etag) for one in page] == [
        ("README.md", 6, blob_id(b"readme")),
        ("large", len(large), hashlib.sha256(large).hexdigest()),
        ("small", 5, blob_id(small)),
    ]


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("models/owner/name", "hf://owner/name"),
        ("spaces/owner/name", "hf://spaces/owner/name"),
        ("datasets/owner/name", "hf://datasets/owner/name"),
    ],
)
async def test_repositories_of_each_type_are_read(
    instance: inhaul.Instance, hub: StrictHub, repository: str, address: str
) -> None:
    hub.put(repository, "a.txt", b"text")
    artifact = await Artifact(f"{address}/a.txt").save()
    assert (artifact.storage.root, await artifact.load()) == (address, "text")


@pytest.mark.parametrize("revision", ["v1", "refs/pr/7", "refs%2Fpr%2F7", "refs/convert/parquet"])
async def test_a_revision_is_a_storage_of_its_own(instance: inhaul.Instance, hub: StrictHub, revision: str) -> None:
    hub.put(REPOSITORY, "a.txt", b"main")
    hub.put(REPOSITORY, "a.txt", b"other", revision.replace("%2F", "/"))
    artifact = await Artifact(f"hf://{REPOSITORY}@{revision}/a.txt").save()
    assert (artifact.storage.root, artifact.key) == (f"hf://{REPOSITORY}@{revision}", "a.txt")
    assert await artifact.load() == "other"
    newest = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    assert (newest.storage.root, newest.version) == (f"hf://{REPOSITORY}", None)
    assert await newest.load() == "main"


def test_addresses() -> None:
    assert str(HfAddress.parse("hf://datasets/Owner/na.me@v1.0/a/b/")) == "hf://datasets/Owner/na.me@v1.0/a/b"
    assert HfAddress.parse("hf://o/n").repository == ("model", "o/n", "main")
    assert HfAddress.locate("hf://datasets/o/n/a?b#c").prefix == "a?b#c"
    for wrong in (
        "hf://",
        "hf://owner",
        "hf://datasets/name",
        "hf://datasets/name/",
        "hf://buckets/o/n",
        "hf://models/o/n",
        "hf://o/n@",
        "hf://o/n?token=s3cret",
        "hf://user:s3cret@huggingface.co/o/n",
        "hf://o/n/../x",
    ):
        with pytest.raises(UnsupportedStorage) as caught:
            HfAddress.parse(wrong)
        assert "s3cret" not in str(caught.value)


# --- folders


async def test_a_folder_is_one_artifact_or_many(instance: inhaul.Instance, hub: StrictHub) -> None:
    contents = {"d/a.txt": b"a", "d/e/b.txt": b"b" * 2 * LARGE, "d.txt": b"beside", "z.txt": b"z"}
    for path, content in contents.items():
        hub.put(REPOSITORY, path, content)
    folder = await Artifact(f"hf://{REPOSITORY}/d").save()
    assert folder.hash_type == "etag", "hashes that are not ours do not make one of ours"
    assert (folder.key, folder.n_objects, folder.size) == ("d", 2, 1 + 2 * LARGE)
    copy = await folder.cache()
    assert {str(file.relative_to(copy)): file.read_bytes() for file in copy.rglob("*") if file.is_file()} == {
        "a.txt": b"a",
        "e/b.txt": b"b" * 2 * LARGE,
    }
    files = await Artifact.from_dir(f"hf://{REPOSITORY}").save()
    assert [one.key for one in files] == ["d.txt", "d/a.txt", "d/e/b.txt", "z.txt"]
    assert (await inhaul.verify(folder.storage)).ok
    hub.put(REPOSITORY, "d/a.txt", b"A")
    assert {finding.key for finding in (await inhaul.verify(folder.storage)).findings} == {"d", "d/a.txt"}
    with pytest.raises(FileNotFoundError):
        await Artifact(f"hf://{REPOSITORY}/none")
    with pytest.raises(InvalidKey, match="root"):
        await Artifact(f"hf://{REPOSITORY}")


async def test_listings_come_in_pages_and_in_order(hub: StrictHub, store: HfStore) -> None:
    hub.page = 3
    names = ["a.csv", "a/1", "a/2", "a/b/3", "b", "é", "Z"]
    for name in names:
        hub.put(REPOSITORY, name, name.encode())
    assert await listed(store) == sorted(["README.md", *names], key=str.encode)
    assert await listed(store, "a") == ["a.csv", "a/1", "a/2", "a/b/3"]
    assert await listed(store, "a/") == ["a/1", "a/2", "a/b/3"]
    assert await listed(store, "a/b/none") == await listed(store, "none/") == []
    inner = HfStore(HfAddress.parse(f"hf://{REPOSITORY}/a"), QUICK)
    assert await listed(inner) == ["1", "2", "b/3"]
    found = await inner.stat("b/3")
    assert found is not None
    assert found.size == 5
    await inner.aclose()


# --- reading


async def test_a_large_file_comes_in_ranges(hub: StrictHub, store: HfStore, tmp_path: Path) -> None:
    hub.put(REPOSITORY, "big", BIG)
    stat = await store.stat("big")
    assert stat is not None
    await store.fetch("big", tmp_path / "copy", stat.size, stat.etag)
    assert (tmp_path / "copy").read_bytes() == BIG
    ranges = sorted(int(asked.headers["range"][6:].split("-")[0]) >> 20 for asked in hub.large.log)
    assert ranges == [0, 8, 16]


async def test_parts_are_read_without_a_copy(instance: inhaul.Instance, hub: StrictHub, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(1_000_000)
    content = (tmp_path / "a.h5").read_bytes()
    hub.put(REPOSITORY, "d d/a.h5", content)
    artifact = await Artifact(f"hf://{REPOSITORY}/d d/a.h5").save()
    accessor = await artifact.backed()
    found = await asyncio.to_thread(lambda: list(accessor.storage["x"][500_000:500_002]))
    assert found == [500_000, 500_001]
    ranges = [asked.headers["range"][6:].split("-") for asked in hub.large.log if asked.method == "GET"]
    assert 0 < sum(int(end) - int(start) + 1 for start, end in ranges) < len(content) / 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"small", b"large" * LARGE], ids=["git", "lfs"])
async def test_a_file_that_changed_is_noticed(instance: inhaul.Instance, hub: StrictHub, content: bytes) -> None:
    hub.put(REPOSITORY, "a.txt", content)
    artifact = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    hub.put(REPOSITORY, "a.txt", content.upper() + b"longer")
    with pytest.raises(ObjectChanged, match="register"):
        await artifact.cache()
    hub.put(REPOSITORY, "a.txt", content.upper())
    with pytest.raises((ObjectChanged, ObjectDamaged), match=r"register the object again|not those that were"):
        await artifact.cache()
    for report in (await artifact.verify(), await inhaul.verify(artifact.storage)):
        assert [finding.defect for finding in report.findings] == [Defect.ALTERED]
    newer = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    assert newer.version == "2"
    assert await newer.load() == content.upper().decode()


async def test_a_file_that_changes_while_it_is_fetched_is_noticed(
    hub: StrictHub, store: HfStore, tmp_path: Path
) -> None:
    for content in (b"small", b"large" * LARGE):
        hub.put(REPOSITORY, "a", content)
        stat = await store.stat("a")
        assert stat is not None
        hub.put(REPOSITORY, "a", content.upper())
        with pytest.raises(ObjectChanged):
            await store.fetch("a", tmp_path / "copy", stat.size, stat.etag)


async def test_other_bytes_than_the_hub_states_are_not_cached(instance: inhaul.Instance, hub: StrictHub) -> None:
    hub.put(REPOSITORY, "a.txt", b"large" * LARGE)
    artifact = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    hub.damaged = True
    with pytest.raises(ObjectDamaged):
        await artifact.cache()
    assert [finding.defect for finding in (await artifact.verify(read=True)).findings] == [Defect.UNREADABLE]
    hub.damaged = False
    assert await artifact.load() == "large" * LARGE
    assert (await artifact.verify(read=True)).ok


async def test_the_content_of_a_small_file_is_compared_with_its_blob(hub: StrictHub, tmp_path: Path) -> None:
    hub.put(REPOSITORY, "a.txt", b"text")
    with proxy(hub.port) as between, pytest.MonkeyPatch.context() as patched:
        patched.setattr(huggingface_hub.constants, "ENDPOINT", between.endpoint_url)
        store = HfStore(HfAddress.parse(f"hf://{REPOSITORY}"), QUICK)
        stat = await store.stat("a.txt")
        assert stat is not None
        between.add(FlipReply(), when=lambda request: "resolve-cache" in request.path)
        with pytest.raises(ObjectDamaged, match="Other bytes arrived"):
            await store.fetch("a.txt", tmp_path / "copy", stat.size, stat.etag)
        assert not (tmp_path / "copy").exists()
        between.clear()
        await store.fetch("a.txt", tmp_path / "copy", stat.size, stat.etag)
        await store.aclose()


async def test_the_hash_of_a_small_file_is_registered_on_request(instance: inhaul.Instance, hub: StrictHub) -> None:
    hub.put(REPOSITORY, "a.txt", b"text")
    artifact = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    assert (await inhaul.verify(artifact.storage, read=True)).ok
    known = await Artifact.filter(key="a.txt").one()
    assert (known.hash, known.hash_type, known.size) == hash_bytes(b"text")


_UPATH = """
import asyncio, sys
import inhaul
from inhaul import Artifact

async def main():
    async with inhaul.connect(storage=sys.argv[1]):
        artifact = await Artifact("hf://datasets/owner/name/a b.txt").save()
        print(await artifact.load(), await asyncio.to_thread(artifact.path.read_text))

asyncio.run(main())
"""


def test_the_library_finds_its_own_settings_and_opens_paths(
    hub: StrictHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(REPOSITORY, "a b.txt", b"text")
    hub.repositories[REPOSITORY].reader = "hf_s3cret"
    write(tmp_path / "home" / "token", "hf_s3cret\n")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    done = children.run(_UPATH, str(tmp_path / "storage"))
    assert (done.stdout.split(), done.returncode) == (["text", "text"], 0), done.stderr


def test_the_blocking_twin_reads_as_well(blocking_instance: inhaul.sync.Instance, hub: StrictHub) -> None:
    hub.put(REPOSITORY, "a.txt", b"text")
    artifact = inhaul.sync.Artifact(f"hf://{REPOSITORY}/a.txt").save()
    assert artifact.load() == "text"
    assert inhaul.sync.verify(artifact.storage).ok


# --- who may read


async def test_the_token_of_the_login_lets_in_and_goes_nowhere_else(
    instance: inhaul.Instance, hub: StrictHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(1000)
    hub.put(REPOSITORY, "a.h5", (tmp_path / "a.h5").read_bytes())
    hub.repositories[REPOSITORY].reader = "hf_s3cret"
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    artifact = await Artifact(f"hf://{REPOSITORY}/a.h5").save()
    await artifact.backed()
    await artifact.cache()
    assert hub.large.log, "and nobody showed it there, or it would have refused"
    assert {asked.status for asked in hub.large.log} <= {200, 206}
    assert not any("authorization" in asked.headers for asked in hub.large.log)
    store = instance.store(artifact.storage.root)
    assert "s3cret" not in repr((store, artifact, artifact.storage, await store.reader("a.h5")))
    assert instance.database.path is not None
    for one in instance.database.path.parent.glob("registry.db*"):
        content = one.read_bytes()
        assert b"s3cret" not in content
        assert SIGNATURE.encode() not in content


async def test_who_may_not_read_is_told_what_to_do(
    instance: inhaul.Instance, hub: StrictHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(REPOSITORY, "a.txt", b"text")
    with pytest.raises(StorageMissing, match=r"datasets/owner/none.*hf auth login"):
        await Artifact("hf://datasets/owner/none/a.txt")
    with pytest.raises(StorageMissing, match="@none"):
        await Artifact(f"hf://{REPOSITORY}@none/a.txt")
    hub.repositories[REPOSITORY].gated = True
    with pytest.raises(StorageDenied, match="hf auth login"):
        await Artifact(f"hf://{REPOSITORY}/a.txt")
    hub.repositories[REPOSITORY].reader = "another"
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    with pytest.raises(StorageMissing) as caught:
        await Artifact(f"hf://{REPOSITORY}/a.txt")
    assert "s3cret" not in str(caught.value)
    await instance.aclose()  # the token is read anew
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    with pytest.raises(StorageDenied, match="401") as denied:
        await Artifact(f"hf://{REPOSITORY}/a.txt")
    assert "s3cret" not in str(denied.value)


async def test_the_library_is_needed_when_it_is_used(
    instance: inhaul.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingLibrary, match=r'pip install "inhaul\[hf\]"'):
        await Artifact(f"hf://{REPOSITORY}/a.txt")


# --- nothing is written


async def test_nothing_is_stored_replaced_or_removed_there(
    instance: inhaul.Instance, hub: StrictHub, tmp_path: Path
) -> None:
    hub.put(REPOSITORY, "a.txt", b"text")
    hub.put(REPOSITORY, ".inhaul/registries/0123456789abcdefghij", b"{}")
    theirs = await Artifact(f"hf://{REPOSITORY}/a.txt").save()
    root, mine = f"hf://{REPOSITORY}", write(tmp_path / "b.txt", "b")
    attempts: list[Callable[[], Any]] = [
        lambda: inhaul.connect(storage=root).open(),
        lambda: Artifact(mine, key="b.txt", storage=root).save(),
        lambda: theirs.replace(mine),
        lambda: theirs.delete(permanent=True, storage=True),
        lambda: inhaul.testremote(root),
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedStorage, match="can only be read"):
            await attempt()
    assert (await inhaul.gc(theirs.storage, delete=True)).objects == []
    await theirs.delete(permanent=True)
    assert await Artifact.filter().count() == 0
    assert hub.repositories[REPOSITORY].files["main"]["a.txt"] == b"text"
    assert {asked.method for asked in hub.log if "paths-info" not in asked.path} <= {"GET", "HEAD"}


# --- when something fails


async def test_what_passes_is_tried_again(hub: StrictHub, store: HfStore, tmp_path: Path) -> None:
    stat = await store.stat("README.md")
    assert stat is not None
    for status in (500, 503, 429):
        hub.statuses = [status] * 2
        assert await store.stat("README.md") == stat
        hub.statuses = [status] * 2
        await store.fetch("README.md", tmp_path / str(status), stat.size, stat.etag)


async def test_a_listing_that_fails_is_tried_again(hub: StrictHub, store: HfStore) -> None:
    patient = HfStore(store.address, Limits(give_up=30))
    hub.statuses = [503]
    assert await listed(patient) == ["README.md"]
    await patient.aclose()


async def test_a_hub_that_keeps_failing_is_given_up(hub: StrictHub, store: HfStore) -> None:
    hub.statuses = [500] * 10_000
    with pytest.raises(StorageUnavailable, match="500"):
        await store.stat("README.md")
    hub.statuses = [400]
    with pytest.raises(ObjectRefused, match="400"):
        await store.stat("README.md")


async def test_a_hub_that_does_not_answer_is_given_up(
    hub: StrictHub, store: HfStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(hub.port) as between:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", between.endpoint_url)
        between.add(Stall())
        with pytest.raises(StorageUnavailable, match="no progress"):
            await store.stat("README.md")


async def test_without_the_network_it_is_an_error_at_once(
    hub: StrictHub, store: HfStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.utils.close_session()
    try:
        with pytest.raises(ObjectRefused, match="OfflineMode"):
            await store.stat("README.md")
    finally:
        monkeypatch.undo()
        huggingface_hub.utils.close_session()

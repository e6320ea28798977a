"""Files on web servers: registered where they are, read, and never written."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Storage
from inhaul.errors import (
    InhaulError,
    InvalidKey,
    ObjectChanged,
    ObjectDamaged,
    ObjectMissing,
    ObjectRefused,
    StorageDenied,
    StorageUnavailable,
    UnsupportedStorage,
)
from inhaul.hashing import hash_bytes
from inhaul.stores import schemes
from inhaul.stores.http import store as http
from inhaul.stores.http.address import HttpAddress, HttpsAddress
from inhaul.stores.http.store import HttpStore
from inhaul.stores.remote.limiter import Limits
from inhaul.upkeep.reports import Defect
from proxy import Cut, Header, Reset, Stall, Status, proxy
from trees import write
from web_servers import File, WebServer, web_server

BIG = random.Random(0).randbytes(20 << 20)
QUICK = Limits(no_progress=0.5, give_up=1, backoff=0.02, longest_backoff=0.1)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
async def store(server: WebServer) -> AsyncIterator[HttpStore]:
    store = HttpStore(HttpAddress.parse(server.url), QUICK)
    yield store
    await store.aclose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the stores of instances give up soon."""
    make = lambda root, options: HttpStore(HttpAddress.parse(root), QUICK)  # noqa: E731
    monkeypatch.setattr(http, "HTTP", http.HTTP._replace(store=make))


# --- what is registered


async def test_a_file_is_registered_where_it_is(instance: inhaul.Instance, server: WebServer) -> None:
    url = server.put("/data/a.csv", b"x,y\n1,2\n")
    artifact = await Artifact(url, key="data/a.csv", description="of a site").save()
    assert (artifact.size, artifact.hash_type, artifact.verified_by) == (8, "etag", "none")
    assert (artifact.key, artifact.object_key, artifact.key_is_virtual) == ("data/a.csv", "data/a.csv", False)
    storage = await Storage.filter(root=server.url).one()
    assert (artifact.storage, storage.type, storage.region) == (storage, "http", None)
    assert set(server.methods("/data/a.csv")) == {"HEAD"}, "it is not read"
    assert list((await artifact.load()).columns) == ["x", "y"]
    assert (await artifact.cache()).read_bytes() == b"x,y\n1,2\n"
    assert server.methods("/data/a.csv").count("GET") == 1, "the second time it is in the cache"
    assert str(artifact.path) == url
    assert await asyncio.to_thread(artifact.path.read_bytes) == b"x,y\n1,2\n"
    assert (await artifact.verify()).ok
    report = await inhaul.verify(storage)
    assert (report.ok, report.checked, report.unhashed, report.read) == (True, 1, 1, 0)
    assert await Artifact(url).save() == artifact
    assert {asked.method for asked in server.log} == {"GET", "HEAD"}


async def test_a_storage_can_be_a_folder_of_a_server(instance: inhaul.Instance, server: WebServer) -> None:
    storage = await Storage(f"{server.url}/data/").save()
    assert storage.root == f"{server.url}/data"
    artifact = await Artifact(server.put("/data/d/a.txt", b"text")).save()
    assert (artifact.storage, artifact.key) == (storage, "d/a.txt")
    assert await artifact.load() == "text"
    other = await Artifact(server.put("/b.txt", b"b")).save()
    assert (other.storage.root, other.key) == (server.url, "b.txt")


@pytest.mark.parametrize(
    ("path", "sent", "plain"),
    [
        ("a b/c.txt", "/a%20b/c.txt", "a b/c.txt"),
        ("a%20b.txt", "/a%20b.txt", "a b.txt"),
        ("a%2Bb+c.txt", "/a%2Bb+c.txt", "a+b+c.txt"),
        ("100%.txt", "/100%25.txt", "100%.txt"),
        ("ä/%C3%A4.txt", "/%C3%A4/%C3%A4.txt", "ä/ä.txt"),
        ("a%2Fb.txt", "/a%2Fb.txt", None),
        ("x@1.0/(a),b;c='d'.txt", "/x@1.0/(a),b;c='d'.txt", "x@1.0/(a),b;c='d'.txt"),
    ],
)
async def test_a_path_is_sent_as_the_user_wrote_it(
    instance: inhaul.Instance, server: WebServer, path: str, sent: str, plain: str | None
) -> None:
    server.put(sent, b"text")
    artifact = await Artifact(f"{server.url}/{path}").save()
    assert artifact.key == path
    assert await artifact.load() == "text"
    assert {asked.path for asked in server.log} == {sent}
    assert HttpAddress.parse(server.url).plain(path) == plain


async def test_the_parts_of_an_address_are_canonical() -> None:
    assert str(HttpsAddress.parse("https://Example.ORG:443/A/b/")) == "https://example.org/A/b"
    assert str(HttpAddress.parse("http://example.org:443")) == "http://example.org:443"
    assert str(HttpsAddress.parse("https://[::1]:8443/")) == "https://[::1]:8443"
    assert schemes.type_of("https://example.org") == "https"
    for wrong in (
        "https://",
        "https:///a",
        "https://a b/c",
        "https://host:x/",
        "https://h/a/../b",
        "https://h/%2e%2e/b",
    ):
        with pytest.raises(UnsupportedStorage):
            HttpsAddress.parse(wrong)
    with pytest.raises(InvalidKey):
        await HttpStore(HttpsAddress.parse("https://h/a")).stat("%2e%2e/b")


# --- secrets


@pytest.mark.parametrize(
    "address",
    [
        "https://user:s3cret@host/a.csv",
        "https://s3cret@host/a.csv",
        "https://host/a.csv?X-Amz-Signature=s3cret",
        "https://host/a.csv#s3cret",
        "https://host?s3cret",
        "https://user:s3cret@host",
    ],
)
async def test_an_address_with_a_secret_is_refused_and_not_shown(
    instance: inhaul.Instance, tmp_path: Path, address: str
) -> None:
    mine = await Artifact(write(tmp_path / "a.csv", "a"), key="a.csv").save()
    attempts: list[Callable[[], Any]] = [
        lambda: Artifact(address).save(),
        lambda: Artifact.from_dir(address).save(),
        lambda: inhaul.ingest(address),
        lambda: Artifact(tmp_path / "a.csv", key="b.csv", storage=address).save(),
        lambda: Storage(address).save(),
        lambda: inhaul.connect(storage=address).open(),
        lambda: mine.replace(address),
        lambda: inhaul.verify(repair=True, source=address),
        lambda: inhaul.testremote(address),
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedStorage, match=r"leave (it|them) out") as caught:
            await attempt()
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UnsupportedStorage):
        _ = Artifact(address, key="a.csv").path
    assert instance.database.path is not None
    for file in [*instance.database.path.parent.glob("registry.db*")]:
        assert b"s3cret" not in file.read_bytes()


async def test_where_a_link_leads_is_not_stored(instance: inhaul.Instance, server: WebServer) -> None:
    with web_server() as other:
        other.put("/stored/x?Signature=s3cret", b"text")
        server.redirects |= {
            "/latest.txt": "/v1.txt",
            "/v1.txt": f"{other.url}/stored/x?Signature=s3cret",
            "/denied.txt": f"{other.url}/denied?Signature=s3cret",
        }
        other.statuses["/denied?Signature=s3cret"] = 403
        artifact = await Artifact(f"{server.url}/latest.txt").save()
        assert artifact.key == "latest.txt"
        assert await artifact.load() == "text"
        assert str(artifact.path) == f"{server.url}/latest.txt"
        with pytest.raises(StorageDenied) as caught:
            await Artifact(f"{server.url}/denied.txt")
        assert "s3cret" not in str(caught.value)
    assert instance.database.path is not None
    with closing(sqlite3.connect(instance.database.path)) as registry:
        assert "s3cret" not in "\n".join(registry.iterdump())


@pytest.mark.parametrize("there", ["/loop", "ftp://host/a", "file:///etc/passwd", "http://["])
async def test_a_link_that_leads_nowhere_is_refused_at_once(server: WebServer, store: HttpStore, there: str) -> None:
    server.redirects["/loop"] = there
    with pytest.raises(ObjectRefused, match="redirect"):
        await store.stat("loop")
    assert len(server.log) <= 2 * 11


# --- size and entity tag


@pytest.mark.parametrize("content", [b"", b"x" * 1000], ids=len)
@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"head": 405},
        {"head": 403},
        {"head": 501},
        {"states": ("GET",)},
        {"head": 400, "ranges": False},
        {"headers": {"Content-Encoding": "gzip"}},
    ],
    ids=str,
)
async def test_the_size_is_found_however_a_server_states_it(
    server: WebServer, store: HttpStore, tmp_path: Path, content: bytes, habits: dict[str, Any]
) -> None:
    server.put("/a", content, **habits)
    stat = await store.stat("a")
    assert stat is not None
    assert (stat.size, stat.modified.year) == (len(content), 2000)
    await store.fetch("a", tmp_path / "copy", stat.size, stat.etag)
    assert (tmp_path / "copy").read_bytes() == content


async def test_a_size_that_only_head_states_is_enough(server: WebServer, store: HttpStore, tmp_path: Path) -> None:
    server.put("/a", b"content", states=("HEAD",))
    await store.fetch("a", tmp_path / "copy", 7)
    assert (tmp_path / "copy").read_bytes() == b"content"
    with pytest.raises(ObjectChanged):
        await store.fetch("a", tmp_path / "other", 6)


async def test_a_head_that_says_nothing_is_not_believed(server: WebServer, store: HttpStore) -> None:
    server.put("/a", b"content")
    with proxy(server.port) as between:
        between.add(Header("Content-Length", lambda rng: "0"), when=lambda request: request.method == "HEAD")
        through = HttpStore(HttpAddress.parse(between.endpoint_url), QUICK)
        found = await through.stat("a")
        await through.aclose()
    assert found is not None
    assert found.size == 7


async def test_a_file_whose_size_nobody_states_is_refused(instance: inhaul.Instance, server: WebServer) -> None:
    for habits in ({"ranges": False}, {"ranges": True}):
        url = server.put("/a.txt", b"text", states=(), **habits)
        with pytest.raises(ObjectRefused, match="download the file"):
            await Artifact(url).save()
    assert await Artifact.filter().count() == 0


async def test_an_entity_tag_like_an_md5_is_none(instance: inhaul.Instance, server: WebServer) -> None:
    artifact = await Artifact(server.put("/a.txt", b"text", etag='"0123456789abcdef0123456789abcdef"')).save()
    assert artifact.hash_type == "etag"
    assert await artifact.load() == "text"
    assert (await inhaul.verify(artifact.storage)).ok


@pytest.mark.parametrize("etag", [None, 'W/"weak"', '""'])
@pytest.mark.parametrize("size", [5, 9 << 20])
async def test_a_file_without_a_strong_entity_tag_is_read_once_and_hashed(
    instance: inhaul.Instance, server: WebServer, etag: str | None, size: int
) -> None:
    url = server.put("/a.bin", BIG[:size], etag=etag)
    artifact = await Artifact(url).save()
    assert (artifact.hash, artifact.hash_type, artifact.size) == hash_bytes(BIG[:size])
    assert artifact.verified_by == "readback"
    assert (await artifact.cache()).read_bytes() == BIG[:size]
    report = await inhaul.verify(artifact.storage)
    assert (report.ok, report.read) == (True, size), "nothing but the bytes shows a change"
    assert await Artifact(url).save() == artifact
    server.put("/a.bin", bytes(size), etag=etag)
    (finding,) = (await artifact.verify()).findings
    assert finding.defect is Defect.ALTERED
    newer = await Artifact(url).save()
    assert (newer.version, newer.hash) == ("2", hash_bytes(bytes(size)).hash)
    server.put("/a.bin", b"x" * size, etag=etag)
    with pytest.raises(ObjectDamaged):
        await newer.cache()


@pytest.mark.parametrize("content", [b"TEXT", b"longer"])
async def test_a_file_that_changed_on_its_server_is_noticed(
    instance: inhaul.Instance, server: WebServer, content: bytes
) -> None:
    url = server.put("/a.txt", b"text")
    artifact = await Artifact(url).save()
    server.put("/a.txt", content)
    with pytest.raises(ObjectChanged, match="register the object again"):
        await artifact.cache()
    for report in (await artifact.verify(), await inhaul.verify(artifact.storage)):
        (finding,) = report.findings
        assert finding.defect in (Defect.ALTERED, Defect.WRONG_SIZE)
        assert finding.path == url
    newer = await Artifact(url).save()
    assert (newer.version, newer.uid[:16]) == ("2", artifact.uid[:16])
    del server.files["/a.txt"]
    (finding,) = (await newer.verify()).findings
    assert finding.defect is Defect.MISSING
    with pytest.raises(ObjectMissing):
        await newer.load()


async def test_a_file_that_changes_while_it_is_fetched_is_noticed(
    server: WebServer, store: HttpStore, tmp_path: Path
) -> None:
    server.put("/a", BIG)
    stat = await store.stat("a")
    assert stat is not None
    server.put("/a", BIG[::-1])
    with pytest.raises(ObjectChanged):
        await store.fetch("a", tmp_path / "copy", stat.size, stat.etag)
    assert not (tmp_path / "copy").exists()


async def test_the_hash_of_the_content_is_registered_on_request(instance: inhaul.Instance, server: WebServer) -> None:
    artifact = await Artifact(server.put("/a.txt", b"text")).save()
    assert (await inhaul.verify(artifact.storage, read=True)).ok
    known = await Artifact.filter(key="a.txt").one()
    assert (known.hash, known.hash_type, known.size) == hash_bytes(b"text")


# --- reading


async def test_a_large_file_comes_in_ranges(server: WebServer, store: HttpStore, tmp_path: Path) -> None:
    server.put("/a", BIG)
    await store.fetch("a", tmp_path / "copy", len(BIG))
    assert (tmp_path / "copy").read_bytes() == BIG
    assert sorted(int(asked.headers["range"][6:].split("-")[0]) >> 20 for asked in server.log) == [0, 8, 16]


@pytest.mark.parametrize("states", [("HEAD", "GET"), ("HEAD",)])
async def test_a_server_without_ranges_sends_all_at_once(
    server: WebServer, store: HttpStore, tmp_path: Path, states: tuple[str, ...]
) -> None:
    server.put("/a", BIG, ranges=False, states=states)
    await store.fetch("a", tmp_path / "copy", len(BIG))
    assert (tmp_path / "copy").read_bytes() == BIG
    for size in (len(BIG) - 1, len(BIG) + 1):
        with pytest.raises(ObjectChanged):
            await store.fetch("a", tmp_path / "other", size)


@pytest.fixture
def matrix(server: WebServer, tmp_path: Path) -> bytes:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(1_000_000)
    return (tmp_path / "a.h5").read_bytes()


async def test_parts_are_read_without_a_copy(
    instance: inhaul.Instance, server: WebServer, matrix: bytes, tmp_path: Path
) -> None:
    artifact = await Artifact(server.put("/d%20d/a.h5", matrix)).save()
    accessor = await artifact.backed()
    found = await asyncio.to_thread(lambda: list(accessor.storage["x"][500_000:500_002]))
    assert found == [500_000, 500_001]
    ranges = [asked.headers["range"][6:].split("-") for asked in server.log if asked.method == "GET"]
    assert 0 < sum(int(end) - int(start) + 1 for start, end in ranges) < len(matrix) / 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("habits", [{"ranges": False}, {"head": 405}, {"states": ("GET",)}], ids=str)
async def test_a_copy_is_opened_where_parts_cannot_be_read(
    instance: inhaul.Instance, server: WebServer, matrix: bytes, habits: dict[str, Any]
) -> None:
    artifact = await Artifact(server.put("/a.h5", matrix, **habits)).save()
    assert list((await artifact.backed()).storage["x"][5:7]) == [5, 6]


def test_the_blocking_twin_reads_as_well(blocking_instance: inhaul.sync.Instance, server: WebServer) -> None:
    artifact = inhaul.sync.Artifact(server.put("/a.txt", b"text")).save()
    assert artifact.load() == "text"
    assert inhaul.sync.verify(artifact.storage).ok


# --- nothing is written


async def test_nothing_is_stored_replaced_or_removed_there(
    instance: inhaul.Instance, server: WebServer, tmp_path: Path
) -> None:
    theirs = await Artifact(server.put("/a.txt", b"text")).save()
    mine, default = write(tmp_path / "b.txt", "b"), await Storage.filter(root=instance.root).one()
    attempts: list[Callable[[], Any]] = [
        lambda: inhaul.connect(storage=server.url).open(),
        lambda: inhaul.connect(storage=server.url, local_storage=tmp_path / "here").open(),
        lambda: Artifact(mine, key="b.txt", storage=server.url).save(),
        lambda: Artifact(mine, key="b.txt", storage=server.url, key_is_virtual=False).save(),
        lambda: Artifact(write(tmp_path / "large.bin", BIG), key="large.bin", storage=server.url).save(),
        lambda: theirs.replace(mine),
        lambda: theirs.delete(permanent=True, storage=True),
        lambda: default.move(server.url),
        lambda: inhaul.testremote(server.url),
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedStorage, match="can only be read"):
            await attempt()
    assert [one.uid for one in await Artifact.filter().all()] == [theirs.uid]
    assert (await inhaul.gc(theirs.storage, delete=True)).objects == []
    assert await theirs.load() == "text"
    assert {asked.method for asked in server.log} == {"GET", "HEAD"}
    assert {asked.path for asked in server.log} == {"/a.txt", "/b.txt"}, "no mark is looked for"


async def test_a_deletion_removes_the_row_only(instance: inhaul.Instance, server: WebServer) -> None:
    artifact = await Artifact(server.put("/a.txt", b"text")).save()
    await artifact.delete()
    await artifact.restore()
    await artifact.delete(permanent=True)
    assert await Artifact.filter().count() == 0
    storage = await Storage.filter(root=server.url).one()
    await storage.delete()
    assert server.files["/a.txt"].content == b"text"
    assert {asked.method for asked in server.log} == {"HEAD"}


async def test_folders_are_refused(instance: inhaul.Instance, server: WebServer) -> None:
    server.put("/d/a.txt", b"text")
    server.put("/d/", b"<html>")
    for attempt in (
        lambda: Artifact(f"{server.url}/d/").save(),
        lambda: Artifact.from_dir(f"{server.url}/d").save(),
        lambda: inhaul.ingest(server.url),
    ):
        with pytest.raises(UnsupportedStorage, match="does not list its files"):
            await attempt()
    with pytest.raises(InvalidKey, match="root"):
        await Artifact(f"{server.url}/")
    with pytest.raises(FileNotFoundError, match="no such object"):
        await Artifact(f"{server.url}/d")
    assert await Artifact.filter().count() == 0


async def test_a_site_that_answers_everything_has_no_marks(instance: inhaul.Instance, server: WebServer) -> None:
    server.page = File(b'{"storage": "x", "place": ["y"], "inside": "", "origin": ""}')
    artifact = await Artifact(server.put("/a.txt", b"text")).save()
    assert (await inhaul.verify(artifact.storage)).ok
    assert (await inhaul.gc(artifact.storage)).objects == []
    assert {asked.path for asked in server.log} == {"/a.txt"}


async def test_options_are_for_other_storages(instance: inhaul.Instance, server: WebServer) -> None:
    with pytest.raises(ValueError, match="there are none for http://"):
        inhaul.connect(storage=server.url, storage_options={"token": "x"})


# --- when something fails


@pytest.mark.parametrize("fault", [Status(500), Status(503), Status(429), Reset(), Cut(10), Stall(10)], ids=repr)
async def test_what_passes_is_tried_again(server: WebServer, tmp_path: Path, fault: Any) -> None:
    server.put("/a", BIG)
    with proxy(server.port) as between:
        between.add(fault, times=2)
        store = HttpStore(HttpAddress.parse(between.endpoint_url), Limits(no_progress=0.5, give_up=30, backoff=0.02))
        stat = await store.stat("a")
        assert stat is not None
        await store.fetch("a", tmp_path / "copy", stat.size, stat.etag)
        await store.aclose()
    assert (tmp_path / "copy").read_bytes() == BIG


@pytest.mark.parametrize(
    ("status", "error"), [(401, StorageDenied), (403, StorageDenied), (400, ObjectRefused), (451, ObjectRefused)]
)
async def test_what_does_not_pass_is_an_error_at_once(
    server: WebServer, store: HttpStore, status: int, error: type[InhaulError]
) -> None:
    server.statuses["/a"] = status
    with pytest.raises(error, match=f"{status} "):
        await store.stat("a")
    assert server.methods("/a") == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_file_that_is_gone_is_missing(server: WebServer, store: HttpStore, status: int, tmp_path: Path) -> None:
    server.statuses["/a"] = status
    assert await store.stat("a") is None
    with pytest.raises(ObjectMissing):
        await store.fetch("a", tmp_path / "copy", 5)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_keeps_failing_is_given_up(server: WebServer, store: HttpStore, status: int) -> None:
    server.statuses["/a"] = status
    with pytest.raises(StorageUnavailable, match=f"{status} "):
        await store.stat("a")


async def test_a_server_that_does_not_answer_is_given_up(server: WebServer, store: HttpStore) -> None:
    server.stalls.add("/a")
    with pytest.raises(StorageUnavailable, match="no progress"):
        await store.stat("a")


async def test_verify_names_each_file_that_cannot_be_read(
    instance: inhaul.Instance, server: WebServer, quick: None
) -> None:
    urls = [server.put(f"/{number}.txt", b"text") for number in range(40)]
    await inhaul.save([Artifact(url) for url in urls])
    server.statuses |= {"/3.txt": 403, "/4.txt": 400, "/5.txt": 404}
    report = await inhaul.verify(await Storage.filter(root=server.url).one())
    assert report.checked == 40
    found = {finding.key: finding.defect for finding in report.findings}
    assert found == {"3.txt": Defect.UNREADABLE, "4.txt": Defect.UNREADABLE, "5.txt": Defect.MISSING}


async def test_a_reply_that_is_cut_off_is_not_cached(instance: inhaul.Instance, server: WebServer) -> None:
    server.put("/a.txt", b"text" * 100, etag=None)
    with proxy(server.port) as between:
        artifact = await Artifact(f"{between.endpoint_url}/a.txt").save()
        between.add(Cut(399, clean=True), when=lambda request: "range" in request.headers, times=1)
        assert await artifact.load() == "text" * 100


async def test_a_proxy_is_used(instance: inhaul.Instance, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("/a.txt", b"text")
    with proxy(server.port) as through:
        monkeypatch.setenv("http_proxy", through.endpoint_url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        artifact = await Artifact("http://files.invalid/a.txt").save()
        assert await artifact.load() == "text"
        assert await asyncio.to_thread(artifact.path.read_bytes) == b"text"
        assert len(through.log) >= 3

"""verify, gc and the cache on S3, with a real server."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from inhaul import Artifact, Defect, Storage, connect, gc, verify
from inhaul.cache import Cache, Entry
from inhaul.db import tables
from inhaul.db.unique import ensure
from inhaul.errors import ObjectChanged, ObjectDamaged, StorageUnavailable
from inhaul.hashing import Digest, hash_bytes
from inhaul.hashing.etags import from_etag
from inhaul.keys import new_uid, object_key
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.ranges import Page
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from proxy import Cut, FlipReply, proxy
from registries import seeds
from s3_servers import S3Server

NOW = timedelta(0)


class Counted(S3Store):
    """Counts LIST requests and downloads."""

    pages = downloads = 0

    async def _page(self, prefix: str, token: str | None, after: str | None) -> Page:
        self.pages += 1
        return await super()._page(prefix, token, after)

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        self.downloads += 1
        await super().fetch(object_key, target, size, etag)


class Bucket:
    """A registered storage on S3, and a way to fill it."""

    def __init__(self, storage: Storage, store: Counted, user_id: int) -> None:
        self.storage = storage
        self.store = store
        self._user_id = user_id

    async def fill(
        self, contents: list[bytes], *, digest: Digest | None = None, verified_by: str = "etag"
    ) -> list[str]:
        """Stores and registers objects; returns their uids."""
        now, rows = datetime.now(UTC), []
        for content in contents:
            uid = new_uid()
            rows.append(
                {
                    "uid": uid,
                    "is_latest": True,
                    "storage_id": self.storage.id,
                    "key": f"k/{uid}.bin",
                    "key_is_virtual": True,
                    "object_key": object_key(uid, "", ".bin"),
                    "suffix": ".bin",
                    **(digest or hash_bytes(content))._asdict(),
                    "verified_by": verified_by,
                    "visibility": 0,
                    "created_by_id": self._user_id,
                    "created_at": now,
                    "updated_at": now,
                }
            )

        async def put(row: dict[str, Any], content: bytes) -> None:
            await self.store.put_bytes(content, row["object_key"], hash_bytes(content))

        await asyncio.gather(*map(put, rows, contents))
        async with self.storage._home.database.write() as conn:
            await conn.execute(insert(tables.artifact), rows)
        return [row["uid"] for row in rows]


@pytest.fixture
async def bucket(s3_root: str, tmp_path: Path) -> AsyncIterator[Bucket]:
    async with connect(tmp_path / "home") as instance:
        identity = await instance.identity()
        store = Counted(S3Address.parse(s3_root))
        instance.stores.at = lambda root: store  # type: ignore[method-assign]
        async with instance.database.write() as conn:
            await ensure(conn, tables.storage, "root", store.root, type="s3", created_by_id=identity.user_id)
        storage = await Storage.filter(root=store.root).one()
        await instance.writable(store.root)
        instance.cache = Cache(tmp_path / "cache", None)
        yield Bucket(storage, store, identity.user_id)
        await store.aclose()


async def test_verify_finds_defects_by_listing(bucket: Bucket) -> None:
    rng = random.Random(1)
    uids = await bucket.fill([rng.randbytes(rng.randrange(10, 100)) for _ in range(1100)])
    report = await verify(bucket.storage)
    assert (report.checked, report.read, report.findings, report.unhashed) == (1100, 0, [], 0)
    assert (bucket.store.pages, bucket.store.downloads) == (2, 0)

    keys = {uid: object_key(uid, "", ".bin") for uid in uids}
    missing, truncated, altered, swapped, other, wrong, *_ = rng.sample(uids, 50)
    await bucket.store.remove([keys[missing]])
    content = {uid: await read(bucket, keys[uid]) for uid in (truncated, altered, other)}
    for uid, bad in (
        (truncated, content[truncated][:-1]),
        (altered, content[altered][:-1] + bytes([content[altered][-1] ^ 1])),
        (swapped, content[other]),
    ):
        await bucket.store.put_bytes(bad, keys[uid], hash_bytes(bad))
    async with bucket.storage._home.database.write() as conn:
        same = tables.artifact.c.uid == wrong
        await conn.execute(tables.artifact.update().where(same).values(size=tables.artifact.c.size + 1))
    extra = ".inhaul/q/" + "0" * 19 + "q.bin"
    await bucket.store.put_bytes(b"extra", extra, hash_bytes(b"extra"))
    report = await verify(bucket.storage)
    assert {finding.uid: finding.defect for finding in report.findings} == {
        missing: Defect.MISSING,
        truncated: Defect.TRUNCATED,
        altered: Defect.ALTERED,
        swapped: Defect.SWAPPED,
        wrong: Defect.WRONG_SIZE,
        None: Defect.EXTRA,
    }
    assert report.read == 0
    found = await (await Artifact.get(altered)).verify()
    assert [finding.defect for finding in found.findings] == [Defect.ALTERED]
    assert (await gc(bucket.storage, older_than=NOW)).objects == [f"{bucket.store.root.partition('?')[0]}/{extra}"]


async def read(bucket: Bucket, key: str) -> bytes:
    stat = await bucket.store.stat(key)
    assert stat
    async with bucket.storage._home.cache.scratch() as path:
        await bucket.store.fetch(key, path, stat.size)
        return await asyncio.to_thread(path.read_bytes)


async def test_what_an_etag_does_not_tell_is_read(bucket: Bucket) -> None:
    (uid,) = await bucket.fill([b"content"], verified_by="checksum")
    assert (await verify(bucket.storage, read=True)).read == 7
    await bucket.store.put_bytes(b"Content", object_key(uid, "", ".bin"), hash_bytes(b"Content"))
    report = await verify(bucket.storage)
    assert ([finding.defect for finding in report.findings], report.read) == ([Defect.ALTERED], 7)


async def test_reading_makes_up_for_what_was_registered_unread(bucket: Bucket, s3_server: S3Server) -> None:
    content = random.Random(2).randbytes((5 << 20) + 1)
    (uid,) = await bucket.fill([content], digest=Digest("unknown", "etag", len(content)), verified_by="none")
    place, key = bucket.store.address, object_key(uid, "", ".bin")
    await asyncio.to_thread(in_small_parts, s3_server.client, place.bucket, place.key(key), content)
    stat = await bucket.store.stat(key)
    assert stat
    digest = from_etag(stat.etag, stat.size)
    if not s3_server.part_etags:
        assert digest == Digest(hash_bytes(content).hash, "md5", len(content))
        return
    assert digest.hash_type == "etag", "it has parts of another size than ours"
    assert (await verify(bucket.storage)).counts == {Defect.ALTERED: 1}
    async with bucket.storage._home.database.write() as conn:
        await conn.execute(tables.artifact.update().values(hash=digest.hash))
    report = await verify(bucket.storage)
    assert (report.ok, report.unhashed, report.read) == (True, 1, 0)
    it = await Artifact.get(uid)
    report = await it.verify(read=True)
    assert (report.ok, report.unhashed, report.read) == (True, 0, len(content))
    assert (it.hash, it.hash_type, it.verified_by) == (*hash_bytes(content)[:2], "readback")


def in_small_parts(client: Any, bucket: str, key: str, content: bytes) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    named = {"Bucket": bucket, "Key": key, "UploadId": upload}
    parts = [content[: 5 << 20], content[5 << 20 :]]
    etags = [client.upload_part(**named, PartNumber=at, Body=part)["ETag"] for at, part in enumerate(parts, 1)]
    numbered = [{"PartNumber": at, "ETag": etag} for at, etag in enumerate(etags, 1)]
    client.complete_multipart_upload(**named, MultipartUpload={"Parts": numbered})


async def test_gc_leaves_no_empty_folder(bucket: Bucket) -> None:
    folder = ".inhaul/q/" + "1" * 19 + "q/"
    for name in ("a", "b"):
        await bucket.store.put_bytes(b"orphan", f"{folder}{name}", hash_bytes(b"orphan"))
    assert len((await gc(bucket.storage, older_than=NOW, delete=True)).objects) == 2
    assert await bucket.store._left(folder) == []


async def test_gc_aborts_uploads(bucket: Bucket, s3_server: S3Server) -> None:
    (uid,) = await bucket.fill([b"kept"])
    place = bucket.store.address
    key = place.key(".inhaul/q/" + "1" * 19 + "q.bin")
    client = s3_server.client
    await asyncio.to_thread(client.create_multipart_upload, Bucket=place.bucket, Key=key)
    assert (await gc(bucket.storage)).uploads == []
    report = await gc(bucket.storage, older_than=NOW)
    assert report.uploads == [key.removeprefix(place.key(""))]
    assert (await gc(bucket.storage, older_than=NOW, delete=True)).uploads == report.uploads
    assert (await gc(bucket.storage, older_than=NOW)).uploads == []
    assert (await (await Artifact.get(uid)).verify()).ok


@seeds(1, 20)
async def test_bad_downloads_never_get_a_name(s3_root: str, s3_server: S3Server, tmp_path: Path, seed: int) -> None:
    """The proxy cuts replies, with their full length or a matching one, or flips a bit of them."""
    rng = random.Random(seed)
    with proxy(s3_server.port, seed) as between:
        place = replace(S3Address.parse(s3_root), endpoint_url=between.endpoint_url)
        store, impatient = (S3Store(place, limits=Limits(backoff=0.001, give_up=longest)) for longest in (30, 0.02))
        cache = Cache(tmp_path / "cache", None)
        contents = {f"o{number}": rng.randbytes(rng.randrange(2, 3000)) for number in range(10)}
        for key, content in contents.items():
            await store.put_bytes(content, key, hash_bytes(content))
        for _ in range(50):
            key, content = rng.choice(list(contents.items()))
            between.clear()
            at = rng.randrange(len(content))
            fault = rng.choice([FlipReply(), Cut(at), Cut(at, clean=True)])
            between.add(fault, when=lambda request: request.method == "GET")
            entry = Entry(key.ljust(20, "0"), ".bin", hash_bytes(content), False)

            async def fetch(target: Path, store: S3Store = store, key: str = key, size: int = len(content)) -> None:
                await store.fetch(key, target, size)

            with pytest.raises((ObjectDamaged, ObjectChanged, StorageUnavailable)):
                await cache.get(entry, partial(fetch, store=impatient))
            assert [path.name for path in cache.folder.iterdir() if path.name != ".notes"] == [".partial"]
            assert list((cache.folder / ".partial").iterdir()) == []
            between.clear()
            between.add(fault, when=lambda request: request.method == "GET", times=1)
            path = await cache.get(entry, fetch)
            assert path.read_bytes() == content
            path.unlink()
        await store.aclose()
        await impatient.aclose()


async def test_an_object_of_another_etag_is_not_fetched(bucket: Bucket, tmp_path: Path) -> None:
    await bucket.store.put_bytes(b"content", "x.bin", hash_bytes(b"content"))
    stat = await bucket.store.stat("x.bin")
    assert stat
    await bucket.store.fetch("x.bin", tmp_path / "x", 7, stat.etag)
    with pytest.raises(ObjectChanged):
        await bucket.store.fetch("x.bin", tmp_path / "y", 7, "0" * 32)

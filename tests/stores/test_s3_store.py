"""What a storage on S3 does with a real server."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from inhaul.errors import InvalidKey
from inhaul.hashing import PART_SIZE, hash_bytes
from inhaul.stores.s3 import store as s3
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from s3_servers import S3Server
from store_tests import SIZES, Content, StoreTests


class TestS3Store(StoreTests):
    module = s3
    verified_by = "etag"
    # Seen with bare aiobotocore: of four uploads that were completed at once, SeaweedFS let several succeed in 4 of
    # 100 rounds on a busy machine, Ceph in 100 of 100.
    part_conditions = False

    @pytest.fixture
    async def store(self, s3_root: str) -> AsyncIterator[S3Store]:
        store = S3Store(S3Address.parse(s3_root))
        yield store
        await store.aclose()

    @pytest.fixture
    def content(self, store: S3Store, s3_server: S3Server) -> Content:
        where = store.address
        return lambda key: s3_server.client.get_object(Bucket=where.bucket, Key=where.key(key))["Body"].read()

    @pytest.fixture
    def exact(self, s3_server: S3Server) -> bool:
        return s3_server.exact

    @pytest.fixture
    def conditions(self, s3_server: S3Server) -> bool:
        return s3_server.conditions

    @SIZES
    async def test_the_etag_tells_the_content(self, store: S3Store, s3_server: S3Server, data: bytes) -> None:
        await store.put_bytes(data, "key", hash_bytes(data))
        in_parts = len(data) >= PART_SIZE and s3_server.part_etags
        stat = await store.stat("key")
        assert stat is not None
        assert stat.etag == (_etag_of_parts(data) if in_parts else hashlib.md5(data).hexdigest())
        assert stat.modified.utcoffset() is not None

    @pytest.mark.parametrize("key", ["a\nb", "x" * 1020])
    async def test_a_key_that_cannot_be_sent_is_refused(self, store: S3Store, key: str) -> None:
        with pytest.raises(InvalidKey):
            await store.put_bytes(b"x", key, hash_bytes(b"x"))
        assert await self.keys(store) == []


def _etag_of_parts(data: bytes) -> str:
    parts = [hashlib.md5(data[start : start + PART_SIZE]).digest() for start in range(0, len(data), PART_SIZE)]
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"

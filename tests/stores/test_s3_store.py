"""What a storage on S3 does with a real server."""

import hashlib

import pytest

from inhaul.hashing import PART_SIZE, hash_bytes
from inhaul.stores.s3 import store as s3
from inhaul.stores.s3.store import S3Store
from s3_servers import S3Server
from store_tests import SIZES, RemoteStoreTests


class TestS3Store(RemoteStoreTests):
    module = s3
    verified_by = "etag"
    # Seen with bare aiobotocore: of four uploads that were completed at once, SeaweedFS let several succeed in 4 of
    # 100 rounds on a busy machine, Ceph in 100 of 100.
    part_conditions = False

    @pytest.fixture
    def exact(self, s3_server: S3Server) -> bool:
        return s3_server.exact

    @pytest.fixture
    def conditions(self, s3_server: S3Server) -> bool:
        return s3_server.conditions

    @pytest.fixture
    def part_digests(self, s3_server: S3Server) -> bool:
        return s3_server.part_etags

    @SIZES
    async def test_the_etag_tells_the_content(self, store: S3Store, s3_server: S3Server, data: bytes) -> None:
        await store.put_bytes(data, "key", hash_bytes(data))
        in_parts = len(data) >= PART_SIZE and s3_server.part_etags
        stat = await store.stat("key")
        assert stat is not None
        assert stat.etag == (_etag_of_parts(data) if in_parts else hashlib.md5(data).hexdigest())
        assert stat.modified.utcoffset() is not None


def _etag_of_parts(data: bytes) -> str:
    parts = [hashlib.md5(data[start : start + PART_SIZE]).digest() for start in range(0, len(data), PART_SIZE)]
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"

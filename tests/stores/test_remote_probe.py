"""What `testremote` reports about real servers, and about one that checks nothing."""

import subprocess
from urllib.parse import urlsplit

import pytest

import inhaul
import inhaul.sync
from commands import COMMAND
from inhaul.errors import StorageMissing, UnsupportedStorage
from s3_servers import S3Server


def left(server: S3Server, bucket: str, prefix: str) -> list[object]:
    uploads = server.client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    return [*server.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []), *uploads]


async def test_a_real_server_lacks_only_what_inhaul_does_not_need(s3_root: str, s3_server: S3Server) -> None:
    report = await inhaul.testremote(s3_root)
    lacking = {ability.name: ability.detail for ability in report.abilities if not ability.works}
    assert lacking.keys() == s3_server.lacks
    assert all(lacking.values())
    assert report.ok
    url = urlsplit(s3_root)
    assert left(s3_server, url.netloc, url.path.strip("/")) == []


async def test_a_server_that_checks_nothing_is_reported(moto_server: S3Server) -> None:
    bucket = moto_server.bucket()
    report = await inhaul.testremote(f"s3://{bucket}/x?endpoint_url={moto_server.endpoint_url}", moto_server.options)
    works = {ability.name: ability.works for ability in report.abilities}
    assert not works["refuse a wrong Content-MD5"]
    assert works["store an object"]
    assert report.ok
    assert left(moto_server, bucket, "") == []


async def test_what_is_no_storage_is_refused(s3_root: str, s3_server: S3Server) -> None:
    with pytest.raises(UnsupportedStorage):
        await inhaul.testremote("/tmp/x")
    with pytest.raises(StorageMissing):
        await inhaul.testremote(f"s3://there-is-none/x?endpoint_url={s3_server.endpoint_url}")


def test_the_command_and_the_twin_probe_too(s3_root: str) -> None:
    result = subprocess.run([COMMAND, "testremote", s3_root], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "read a range" in result.stdout
    assert inhaul.sync.testremote(s3_root).ok

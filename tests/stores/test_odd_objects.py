"""Objects on S3 that cannot be files: each is reported, and none stops a job."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from disks import disk
from inhaul import Artifact, connect, ingest, verify
from inhaul.errors import InvalidKey, KeyExists
from inhaul.ingestion.report import Reason
from inhaul.instance import Instance
from inhaul.upkeep.reports import Defect
from s3_servers import S3Server
from trees import write

ODD = {
    "an empty part": ["a//b"],
    "a leading slash": ["/a"],
    "the folder above": ["../../../../a", "b"],
    "the folder itself": ["./a"],
    "a long name": ["x" * 300],
    "a file and a folder": ["a", "a/b"],
    "a long path": ["d/" * 510 + "f"],
    "a control character": ["a\tb"],
}


class Flat:
    """A bucket of a server that keeps any key, looked at without inhaul."""

    def __init__(self, server: S3Server) -> None:
        self.name, self._client = server.bucket(), server.client

    def put(self, key: str, data: bytes = b"x") -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=data)


@pytest.fixture
def bucket(moto_server: S3Server) -> Flat:
    return Flat(moto_server)


@pytest.fixture
async def flat_instance(moto_server: S3Server, bucket: Flat, tmp_path: Path) -> AsyncIterator[Instance]:
    root = f"s3://{bucket.name}?endpoint_url={moto_server.endpoint_url}"
    url = f"sqlite:///{tmp_path}/registry.db"
    async with connect(root, url, storage_options=moto_server.options) as instance:
        yield instance


@pytest.mark.parametrize("kind", ODD)
async def test_no_folder_is_made_of_objects_that_are_no_files(
    flat_instance: Instance, bucket: Flat, tmp_path: Path, kind: str
) -> None:
    bucket.put("raw/good")
    bucket.put("other/good")
    folder = await Artifact(f"s3://{bucket.name}/raw").save()
    other = await Artifact(f"s3://{bucket.name}/other").save()
    for name in ODD[kind]:  # somebody adds these
        bucket.put(f"raw/{name}")

    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if ".inhaul" not in path.parts and path.is_file()}

    before = files()
    with pytest.raises(InvalidKey):
        await folder.cache()
    report = await verify(read=True)
    assert [one.uid for one in report.findings] == [folder.uid]
    assert report.checked == 2
    assert files() == before
    assert (await other.cache() / "good").read_bytes() == b"x"


async def test_objects_with_control_characters_stop_no_ingest(flat_instance: Instance, bucket: Flat) -> None:
    for key in ("raw/a\tb", "raw/a\x7fb", "raw/good"):
        bucket.put(key)
    report = await ingest(f"s3://{bucket.name}/raw")
    assert [(str(one.path).rpartition("/")[2], one.reason) for one in report.failed] == [
        ("a\tb", Reason.INVALID_KEY),
        ("a\x7fb", Reason.INVALID_KEY),
    ]
    assert [it.key for it in await Artifact.objects.all()] == ["raw/good"]
    verified = await verify(read=True)
    assert (verified.checked, verified.findings) == (1, [])


async def test_no_room_in_the_cache_is_a_finding(flat_instance: Instance, bucket: Flat, tmp_path: Path) -> None:
    bucket.put("raw/large", bytes(3 << 20))
    bucket.put("raw/small")
    await ingest(f"s3://{bucket.name}/raw")
    with disk(tmp_path / "cache", "1m"):
        report = await verify(read=True)
    found = {finding.key: finding for finding in report.findings}
    assert found["raw/large"].defect == Defect.UNREADABLE
    assert "3145728 bytes are needed" in found["raw/large"].detail
    assert set(found) <= {"raw/large", "raw/small"}  # the small one may be fetched while the large one fills the disk
    assert report.checked == 2


@pytest.mark.parametrize("first", ["object", "folder"])
async def test_an_object_and_a_folder_of_one_name_are_no_versions_of_each_other(
    flat_instance: Instance, bucket: Flat, first: str
) -> None:
    bucket.put("x", b"an object")
    bucket.put("x/1", b"in a folder")
    paths = [f"s3://{bucket.name}/x", f"s3://{bucket.name}/x/"]
    if first == "folder":
        paths.reverse()
    artifact = await Artifact(paths[0]).save()
    assert (artifact.n_objects is None) == (first == "object")
    with pytest.raises(KeyExists, match=f"Artifact {artifact.uid} is an? {first}.*still exists"):
        await Artifact(paths[1]).save()
    again = await Artifact.get(artifact.uid)
    assert again.is_latest
    assert again.object_key == "x"
    report = await ingest(f"s3://{bucket.name}")
    if first == "folder":
        assert [(str(one.path).rpartition("/")[2], one.reason) for one in report.failed] == [("x", Reason.CONFLICT)]
    else:
        assert report.failed == []
    assert await Artifact.filter(key="x").count() == 1
    assert (await Artifact.get(artifact.uid)).is_latest


async def test_a_folder_that_took_the_place_of_a_file_is_its_next_version(tmp_path: Path) -> None:
    async with connect(tmp_path / "storage") as instance:
        path = write(Path(instance.root) / "x", "a file")
        file = await Artifact(path).save()
        path.unlink()
        write(path / "1", "in a folder")
        folder = await Artifact(path).save()
        assert (folder.stem_uid, folder.version, folder.n_objects) == (file.stem_uid, "2", 1)


async def test_folders_in_folders_in_any_number_do_not_stop_verify(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    write(root / "a.txt", "a")
    write(root / "d" / "b.txt", "b")
    try:
        async with connect(root):
            await Artifact(root / "a.txt").save()
            folder = await Artifact(root / "d").save()
            for top in (root / "d", root / ".inhaul" / "a"):
                _nest(top, 3000)
            report = await verify(read=True)
            assert report.checked == 2
            assert [(one.uid, one.defect) for one in report.findings] == [(folder.uid, Defect.UNREADABLE)]
    finally:
        subprocess.run(["rm", "-rf", root], check=True)


def _nest(top: Path, depth: int) -> None:
    """Makes folders in each other, deeper than any path reaches, and a file in the last."""
    code = """
import os, sys
os.makedirs(sys.argv[1], exist_ok=True)
os.chdir(sys.argv[1])
for _ in range(int(sys.argv[2])):
    os.mkdir("n")
    os.chdir("n")
open("f", "w").close()
"""
    subprocess.run(["python3", "-c", code, top, str(depth)], check=True)


async def test_a_huge_list_of_what_to_leave_out_fails_by_itself(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write(tree / "a.txt", "a")
    write(tree / "d" / "b.log", "b")
    write(tree / "d" / ".inhaulignore", "*.log\n")
    with (tree / ".inhaulignore").open("w") as file:
        file.truncate(1 << 40)
    async with connect(tmp_path / "storage"):
        report = await ingest(tree)
        (issue,) = report.failed
        assert issue.path == tree / ".inhaulignore"
        assert "1 MiB" in str(issue.error)
        assert {it.key for it in await Artifact.objects.all()} == {"tree/a.txt", "tree/d/.inhaulignore"}
        with pytest.raises(OSError, match=r"1 MiB|large"):
            await Artifact(tree, key="tree")

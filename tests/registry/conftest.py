"""What tests of the registry run in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact
from s3_places import Bucket
from s3_servers import S3Server
from trees import write


@pytest.fixture
async def instance(tmp_path: Path, database_url: str) -> AsyncIterator[inhaul.Instance]:
    """The current instance, empty, with its storage in a folder; on SQLite, then on PostgreSQL."""
    async with inhaul.connect(storage=tmp_path / "storage", db=database_url) as instance:
        yield instance


@pytest.fixture
async def artifacts(instance: inhaul.Instance, tmp_path: Path) -> list[Artifact]:
    """The four saved artifacts of a folder."""
    for number in range(4):
        write(tmp_path / "plates" / f"{number}.txt", str(number))
    return list(await Artifact.from_dir(tmp_path / "plates").save())


@pytest.fixture
def bucket(s3_server: S3Server, s3_root: str) -> Bucket:
    """The folder of `s3_root`, looked at without inhaul."""
    return Bucket(s3_server, s3_root)

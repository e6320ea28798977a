"""Folders that go into S3, are verified by listing, damaged, found and stored again."""

import json
import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

import children
import inhaul
from inhaul import Artifact, Defect
from registries import query
from s3_places import Place
from trees import write

LONG = "SOAK" in os.environ
FILES = 10_000 if LONG else 600
EACH = 10  # times the kinds: the number of defects, of which five are extra objects
KINDS = [Defect.MISSING, Defect.TRUNCATED, Defect.ALTERED, Defect.SWAPPED, Defect.WRONG_SIZE]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = random.Random(0)
    for number in range(FILES):
        write(tmp_path / f"tree/{number // 500}/{number}.bin", rng.randbytes(rng.randrange(10, 3000)))
    return tmp_path / "tree"


def damage(place: Place, rows: list[dict[str, str]], rng: random.Random) -> dict[str, Defect]:
    """Plants fifty defects of six kinds, not through the proxy. Returns them by uid or by key."""
    chosen = rng.sample(rows, len(KINDS) * EACH - 5)
    planted: dict[str, Defect] = {}
    spare = next(row for row in rows if row not in chosen)
    client, bucket = place.server.client, place.bucket
    for number, row in enumerate(chosen):
        defect, key = KINDS[number % len(KINDS)], place.address.key(row["object_key"])
        content = place.content(row["object_key"])
        match defect:
            case Defect.MISSING:
                client.delete_object(Bucket=bucket, Key=key)
                planted[row["uid"]] = defect
                continue
            case Defect.TRUNCATED:
                content = content[:-1]
            case Defect.ALTERED:
                content = bytes([content[0] ^ 1]) + content[1:]
            case Defect.SWAPPED:
                content = place.content(spare["object_key"])
            case Defect.WRONG_SIZE:
                content += b"x"
        client.put_object(Bucket=bucket, Key=key, Body=content)
        planted[row["uid"]] = defect
    for number in range(5):
        extra = f".inhaul/{number}/{'0' * 15}{number}0000.bin"
        client.put_object(Bucket=bucket, Key=place.address.key(extra), Body=b"extra")
        planted[extra] = Defect.EXTRA
    return planted


async def test_planted_defects_are_found_by_listing_and_repaired(
    place: Place, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(str(place.address), url, storage_options=place.server.options):
        assert (await inhaul.ingest(tree)).files == FILES

        place.proxy.log.clear()
        report = await inhaul.verify()
        assert (report.ok, report.checked, report.read) == (True, FILES, 0)
        assert len(place.proxy.log) <= FILES / 1000 + 2
        read = [seen.request for seen in place.proxy.log if "list-type=2" not in seen.request.query]
        assert [request.path.split("/")[-3:-1] for request in read] in ([], [[".inhaul", "registries"]])

        rows = await query(url, "SELECT uid, object_key FROM artifact ORDER BY id")
        planted = damage(place, rows, random.Random(1))
        assert len(planted) == 50
        report = await inhaul.verify()
        found = {
            one.uid or one.path.partition(f"{place.prefix}/")[2].partition("?")[0]: one.defect
            for one in report.findings
        }
        assert found == planted

        for uid, defect in planted.items():
            if defect != Defect.EXTRA:
                key = (await Artifact.get(uid)).key
                await Artifact(tree.parent / key, key=key).save()  # stores again what is not as registered
        await inhaul.gc(delete=True, older_than=timedelta(0))
        assert (await inhaul.verify()).ok


INGEST_AND_CACHE = """
import asyncio, json, sys, inhaul
async def main():
    options = json.loads(sys.argv[4])
    async with inhaul.connect(sys.argv[1], sys.argv[2], storage_options=options) as instance:
        report = await inhaul.ingest(sys.argv[3])
        assert report.failed == [], report.failed
        saved = await inhaul.Artifact.from_dir(sys.argv[3]).save()
        paths = await saved.cache()
        assert len(paths) == report.files
    print(report.files)
"""


async def test_few_descriptors_are_enough(
    place: Place, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tree / "large.bin", os.urandom(20 << 20))
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    arguments = (str(place.address), url, str(tree), json.dumps(place.server.options))
    files, peak = children.with_few_descriptors(INGEST_AND_CACHE, *arguments, timeout=300)
    assert files == str(FILES + 1)
    assert peak <= 256 // 2 + 64

"""Little room: on disk, and for descriptors."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import children
import disks
import inhaul
from inhaul import Artifact, Reason, Status
from inhaul.errors import StorageFull
from registries import assert_consistent, assert_holds
from trees import grow

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a disk of so many MiB, which takes root."""
    with ExitStack() as stack:
        yield lambda mebibytes: stack.enter_context(disks.disk(tmp_path / f"disk{mebibytes}", f"{mebibytes}m"))


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)


@pytest.mark.parametrize("mebibytes", [1, 4, 16])
@pytest.mark.parametrize("way", ["ingest", "staged"])
async def test_a_full_storage_takes_what_fits_and_the_rest_later(
    disk: Disk, tmp_path: Path, mebibytes: int, way: str
) -> None:
    root, tree, url = disk(mebibytes) / "storage", tmp_path / "tree", f"sqlite:///{tmp_path}/registry.db"
    for number in range(24):
        grow(tree / f"{number:02d}", 1, seed=number)
        (tree / f"{number:02d}" / "big.bin").write_bytes(bytes([number]) * (mebibytes << 16))
    (tree / "whole.bin").write_bytes(b"w" * (mebibytes << 20))
    async with inhaul.connect(root, url):
        listed = await Artifact.from_dir(tree) if way == "staged" else Artifact.from_dir(tree)
        await listed.save()
        assert {issue.reason for issue in listed.failed} == {Reason.NO_SPACE}
        for issue in listed.failed:
            assert isinstance(issue.error, StorageFull)
            assert issue.error.errno == errno.ENOSPC
            assert str(issue.path) in str(issue.error)
            assert str(issue.path.stat().st_size) in str(issue.error).replace(",", ""), "how much room it needs"
        stored = await assert_consistent(url, root)
        assert len(stored) + len(listed.failed) == 49
        assert stored, "some did fit"

        enlarge(root.parent)
        report = await inhaul.ingest(tree)
        assert +report.counts == {Status.UNCHANGED: len(stored), Status.NEW: len(listed.failed)}
    await assert_holds(url, root, tree)


async def test_a_full_disk_under_the_registry_names_it(disk: Disk, tmp_path: Path) -> None:
    small, root, tree = disk(1), tmp_path / "storage", tmp_path / "tree"
    url = f"sqlite:///{small}/registry.db"
    grow(tree, 5_000, largest=2)
    async with inhaul.connect(root, url):
        with pytest.raises(StorageFull) as caught:
            await inhaul.ingest(tree)
        assert str(small / "registry.db") in str(caught.value)
        await assert_consistent(url, root, orphans=True)
        enlarge(small)
        assert (await inhaul.ingest(tree)).files == 5_000
    await assert_holds(url, root, tree)


async def test_a_disk_without_any_room_is_named(disk: Disk, tmp_path: Path) -> None:
    """Storage, registry and session are on it."""
    small, tree = disk(1), tmp_path / "tree"
    grow(tree, 3)
    filler = small / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    async with inhaul.connect(small / "storage"):
        with pytest.raises(StorageFull) as caught:
            await inhaul.ingest(tree)
        assert str(small) in str(caught.value)
        filler.unlink()
        assert +(await inhaul.ingest(tree)).counts == {Status.NEW: 3}
    await assert_holds(f"sqlite:///{small}/storage/.inhaul/registry.db", small / "storage", tree)


async def test_verify_only_reads_so_it_works_on_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    small = disk(3)
    grow(tmp_path / "tree", 3)
    async with inhaul.connect(small / "storage"):
        await inhaul.ingest(tmp_path / "tree")
        with suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for read in (False, True):
            report = await inhaul.verify(read=read)
            assert (report.ok, report.checked) == (True, 3)


INGEST = """
import asyncio, sys, inhaul
async def main():
    async with inhaul.connect(sys.argv[1]):
        report = await inhaul.ingest(sys.argv[2])
    assert report.failed == [], report.failed
    print(report.files)
"""


async def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """Wide and deep: a walk that kept its folders open would run out of them."""
    tree = tmp_path / "tree"
    for number in range(600):
        folder = tree / f"{number:03d}"
        folder.mkdir(parents=True)
        for name in range(5):
            (folder / str(name)).write_text(f"{number} {name}")
    deep = tree / "/".join("deep" for _ in range(150))
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    files, peak = children.with_few_descriptors(INGEST, str(tmp_path / "storage"), str(tree))
    assert files == "3001"
    assert peak <= min(256 // 2, 3 * (os.cpu_count() or 1) + 50)

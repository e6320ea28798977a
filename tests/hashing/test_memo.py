"""The memo: unchanged files are not read again, and no change is missed."""

import asyncio
import mmap
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import children
import inhaul
from disks import disk, image
from inhaul.hashing import hash_dir, hash_files, memo
from inhaul.hashing.memo import open_memo
from inhaul.settings import settings
from registries import seeds

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk takes root")

# Hashes a folder, without the sample of files that are read all the same.
HASH = """
import sys
from pathlib import Path
from inhaul.hashing import hash_dir, memo
memo.SAMPLE = 1 << 62
print(hash_dir(sys.argv[1]).hash)
"""


@pytest.fixture(autouse=True)
def _no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves no file to chance."""
    monkeypatch.setattr(memo, "SAMPLE", 1 << 62)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that the memo trusts."""
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    age()
    hash_dir(folder)
    if shelf().exists():
        shutil.rmtree(shelf())
        (folder / "file").unlink()
        yield folder
    elif os.geteuid() == 0:
        with image(tmp_path / "image", folder):
            yield folder
    else:
        pytest.skip("the temporary folder is on a file system whose times the memo does not trust")


def shelf() -> Path:
    return settings.cache_dir / "memo"


def memos() -> list[Path]:
    return [path for path in shelf().glob("*") if path.suffix != ".new"]


def age() -> None:
    """Waits until new files may be remembered."""
    time.sleep(2.05)


def fill(folder: Path, files: int, size: int = 100) -> None:
    for number in range(files):
        path = folder / f"{number // 10}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size))


def traced(tmp_path: Path, script: str, *arguments: str) -> tuple[str, list[str]]:
    """Runs a program. Returns its output and the calls that name files."""
    log = tmp_path / "trace"
    calls = "open,openat,openat2,newfstatat,statx"
    done = children.run(script, *arguments, wrapper=("strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(log)))
    assert not done.returncode, done.stderr
    return done.stdout, [line for line in log.read_text().splitlines() if '"file-' in line]


def same(folder: Path) -> str:
    """Hashes a folder with its memo, and compares that with reading all of it."""
    remembered = hash_dir(folder)
    assert remembered == hash_dir(folder, memo=False)
    return remembered.hash


def test_an_unchanged_file_takes_one_stat_and_is_not_opened(local: Path, tmp_path: Path) -> None:
    fill(local, 200)
    age()
    whole = hash_dir(local).hash
    output, calls = traced(tmp_path, HASH, str(local))
    assert output.strip() == whole
    assert [call for call in calls if "open" in call] == []
    assert len(calls) == 200
    (file,) = memos()
    assert file.stat().st_size <= 64 * 200
    assert (file.stat().st_mode & 0o777, shelf().stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_unchanged_ingest_opens_no_file(local: Path, tmp_path: Path) -> None:
    (local / "data").mkdir()
    fill(local / "data", 200)
    age()
    ingest = f"from inhaul.hashing import memo\nmemo.SAMPLE = 1 << 62\n{children.INGEST}"
    arguments = (str(local), f"sqlite:///{tmp_path}/registry.db", str(local / "data"))
    assert not children.run(ingest, *arguments).returncode
    _, calls = traced(tmp_path, ingest, *arguments)
    assert [call for call in calls if "open" in call] == []
    assert len(calls) == 200


def test_unchanged_files_of_a_list_are_not_opened_and_the_others_are_not_forgotten(local: Path, tmp_path: Path) -> None:
    fill(local, 100)
    age()
    script = """
import asyncio, sys, inhaul
from pathlib import Path
from inhaul.hashing import memo
memo.SAMPLE = 1 << 62
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        paths = sorted(Path(sys.argv[1]).glob("*/file-*"))[: int(sys.argv[3])]
        print((await inhaul.ingest(sys.argv[1], paths=paths)).counts)
asyncio.run(main())
"""
    arguments = (str(local), f"sqlite:///{tmp_path}/registry.db")
    for count, opened in ((100, 100), (40, 0), (100, 0)):
        _, calls = traced(tmp_path, script, *arguments, str(count))
        assert len([call for call in calls if "open" in call]) == opened


def test_a_list_that_was_staged_is_saved_in_place_without_reading(local: Path, tmp_path: Path) -> None:
    fill(local, 20)
    age()
    script = """
import asyncio, sys, inhaul
from inhaul.hashing import memo
memo.SAMPLE = 1 << 62
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        staged = await inhaul.Artifact.from_dir(sys.argv[1])
        await staged.save()
        print(len(staged), len(staged.failed))
asyncio.run(main())
"""
    output, calls = traced(tmp_path, script, str(local), f"sqlite:///{tmp_path}/registry.db")
    assert output.split() == ["20", "0"]
    assert len([call for call in calls if "open" in call]) == 20


def test_one_of_many_files_is_read_all_the_same(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(local, 200)
    age()
    hash_dir(local)
    _, calls = traced(tmp_path, HASH.replace("1 << 62", "4"), str(local))
    assert 20 < len([call for call in calls if "open" in call]) < 100


def test_a_young_file_is_not_remembered(local: Path) -> None:
    fill(local, 20)
    hash_dir(local)
    assert memos() == []


def test_a_store_through_a_mapping_is_not_missed(local: Path) -> None:
    path = local / "file"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)
    for number in range(1, 10):
        mapped[0] = number
        age()
        before, first = path.stat(), same(local)
        mapped[1] = number
        after = path.stat()
        if before.st_ctime_ns == after.st_ctime_ns:
            break  # otherwise the page was written to the disk meanwhile
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert same(local) != first
    mapped.close()
    age()
    same(local)
    assert len(memos()) == 1
    same(local)


def test_a_large_file_that_is_open_to_write_is_not_remembered(local: Path) -> None:
    path = local / "file"
    path.write_bytes(os.urandom(200_000))
    os.sync()
    with path.open("r+b"):
        age()
        same(local)
        assert memos() == []
    same(local)
    assert len(memos()) == 1


def _rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _rewrite_and_restore_mtime(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _rename_over(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    shutil.copystat(path, other)
    other.rename(path)


def _replace_inode(path: Path, content: bytes) -> None:
    before = path.stat()
    path.unlink()
    path.write_bytes(content)  # ext4 often gives it the same inode
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _copy_tree_over(path: Path, content: bytes) -> None:
    tree = path.parent.with_name("tree")
    shutil.copytree(path.parent, tree)
    copied = tree / path.name
    before = copied.stat()
    copied.write_bytes(content)
    os.utime(copied, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copytree(tree, path.parent, dirs_exist_ok=True)  # with all times, as `cp -p`
    shutil.rmtree(tree)


def _write_through_link(path: Path, content: bytes) -> None:
    link = path.with_name(f"{path.name}-link")
    link.unlink(missing_ok=True)
    link.hardlink_to(path)
    with link.open("r+b") as file:
        file.write(content)


def _store_through_mapping(path: Path, content: bytes) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[: len(content)] = content


def _swap(path: Path, content: bytes) -> None:
    other = path.with_name(f"{path.name}-swapped")
    other.write_bytes(content)
    between = path.with_name("between")
    path.rename(between)
    other.rename(path)
    between.rename(other)


def _move_folder(path: Path, _: bytes) -> None:
    moved = path.parent / "moved"
    shutil.rmtree(moved, ignore_errors=True)
    moved.mkdir()
    path.rename(moved / path.name)
    path.write_bytes(b"a" * 50)


CHANGES = [
    _rewrite,
    _rewrite_and_restore_mtime,
    _rename_over,
    _replace_inode,
    _copy_tree_over,
    _write_through_link,
    _store_through_mapping,
    _swap,
    _move_folder,
]
AT_ONCE = 100  # histories, as each must wait for files to become old


@seeds(1, 100)
def test_no_history_makes_it_wrong(seed: int, local: Path) -> None:
    dice = random.Random(seed)
    folders = [local / str(number) / "folder" for number in range(AT_ONCE)]
    for folder in folders:
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"file-{number}").write_bytes(dice.randbytes(50))
    for _ in range(4):
        time.sleep(dice.choice((0.0, 0.01, 1.0, 2.05)))
        for folder in folders:
            same(folder)
        if dice.random() < 0.3:
            for path in memos():
                content = bytearray(path.read_bytes())
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
                path.write_bytes(content)
        for folder in dice.sample(folders, AT_ONCE // 2):
            file = dice.choice([path for path in folder.iterdir() if path.is_file()])
            dice.choice(CHANGES)(file, dice.randbytes(file.stat().st_size))
    for folder in folders:
        same(folder)


@ROOT
def test_tmpfs_and_overlay_are_not_trusted(tmp_path: Path) -> None:
    with disk(tmp_path / "tmpfs", "10M") as folder:
        fill(folder, 10)
        age()
        hash_dir(folder, memo=True)
        for name in ("lower", "upper", "work"):
            (tmp_path / name).mkdir()
        fill(tmp_path / "lower", 10)
        age()
        merged = tmp_path / "merged"
        merged.mkdir()
        options = ",".join(f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work"))
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        hash_dir(merged, memo=True)
        subprocess.run(["umount", merged], check=True)
    assert memos() == []


@ROOT
@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_other_disks_are_trusted(kind: str, tmp_path: Path) -> None:
    with image(tmp_path / "image", tmp_path / "disk", kind) as folder:
        fill(folder, 10)
        age()
        same(folder)
        assert len(memos()) == 1
        same(folder)


@ROOT
def test_a_disk_that_counts_whole_seconds_is_not_trusted(tmp_path: Path) -> None:
    with image(tmp_path / "image", tmp_path / "disk", "ext4", "-I", "128") as folder:
        fill(folder, 10)
        assert (folder / "0" / "file-0").stat().st_ctime_ns % 1_000_000_000 == 0
        age()
        hash_dir(folder)
    assert memos() == []


@ROOT
def test_another_disk_at_the_same_path_is_another_one(tmp_path: Path) -> None:
    seen = set()
    for name in ("one", "two", "one", "two"):
        with image(tmp_path / name, tmp_path / "disk") as folder:
            if not (folder / "file").exists():
                (folder / "file").write_bytes(os.urandom(50))
                age()
            seen.add(same(folder))
    assert len(seen) == 2


@contextmanager
def image_as(device: int, disk_image: Path, mounted: Path) -> Iterator[None]:
    """Mounts an image under the number that it had before, which another test may be using."""
    for _ in range(100):
        with image(disk_image, mounted):
            if mounted.stat().st_dev == device:
                yield
                return
        time.sleep(0.1)
    pytest.fail("another test keeps the device")


@ROOT
async def test_a_disk_that_changes_by_itself_is_found_by_verify_and_by_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = b"0123456789abcdef" * 256
    disk_image, mounted = tmp_path / "image", tmp_path / "disk"

    def damage() -> None:
        raw = disk_image.read_bytes()
        assert raw.count(content) == 1
        disk_image.write_bytes(raw.replace(content, content[::-1]))

    def fill_disk() -> None:
        (mounted / "file").write_bytes(content)
        age()

    with image(disk_image, mounted):
        device = mounted.stat().st_dev
        await asyncio.to_thread(fill_disk)
        async with inhaul.connect(storage=mounted, db=f"sqlite:///{tmp_path}/registry.db"):
            assert (await inhaul.ingest(mounted)).counts["new"] == 1
    damage()
    with image_as(device, disk_image, mounted):
        async with inhaul.connect(storage=mounted, db=f"sqlite:///{tmp_path}/registry.db"):
            assert (await inhaul.ingest(mounted)).counts["unchanged"] == 1, "its times are the same"
            assert len((await inhaul.verify()).findings) == 1
            with pytest.warns(UserWarning, match="although its size and times are the same"):
                report = await inhaul.ingest(mounted, rehash=True)
            assert report.counts["new_version"] == 1
            assert memos() == []
            (told,) = (vars(one) for one in caplog.records if one.name == "inhaul.memo")
            assert (told["levelname"], told["path"], told["files"]) == ("WARNING", str(mounted / "file"), 1)


def test_several_processes_use_one_memo(local: Path) -> None:
    fill(local, 300)
    age()
    outputs = children.race(f"print('ready', flush=True)\ninput()\n{HASH}", str(local), processes=6)
    assert {output.strip().splitlines()[-1] for output in outputs} == {hash_dir(local, memo=False).hash}
    same(local)
    assert len(memos()) == 1


def test_a_process_that_is_killed_while_it_writes_the_memo_does_no_harm(local: Path, tmp_path: Path) -> None:
    fill(local, 300)
    age()
    hash_dir(local)
    (file,) = memos()
    before = file.read_bytes()
    (local / "0" / "file-0").write_bytes(b"other")
    age()
    new = file.with_suffix(".new")
    sizes = []
    for call, when in (("flock", 1), ("ftruncate", 1), ("write", 2)):  # the second write does not happen
        killed = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={when}")
        assert children.run(HASH, str(local), wrapper=killed).returncode
        assert file.read_bytes() == before
        sizes.append(new.stat().st_size)
        assert children.run(HASH, str(local)).stdout.strip() == hash_dir(local, memo=False).hash
        assert not new.exists()
        assert file.read_bytes() != before
        file.write_bytes(before)
    assert sizes == [0, 0, 80]


def test_a_memo_that_others_can_write_is_not_read(local: Path, tmp_path: Path) -> None:
    fill(local, 20)
    age()
    hash_dir(local)
    (file,) = memos()
    file.chmod(0o666)
    _, calls = traced(tmp_path, HASH, str(local))
    assert len([call for call in calls if "open" in call]) == 20


def test_no_memo_and_rehash_read_all_files(local: Path, tmp_path: Path) -> None:
    fill(local, 20)
    age()
    hash_dir(local)
    for option in ("memo=False", "rehash=True"):
        _, calls = traced(tmp_path, HASH.replace("(sys.argv[1])", f"(sys.argv[1], {option})"), str(local))
        assert len([call for call in calls if "open" in call]) == 20


def test_a_folder_below_uses_the_memo_of_the_whole(local: Path, tmp_path: Path) -> None:
    fill(local, 20)
    age()
    hash_dir(local)
    _, calls = traced(tmp_path, HASH, str(local / "1"))
    assert [call for call in calls if "open" in call] == []


def test_only_hashes_by_the_usual_rule_are_remembered(local: Path) -> None:
    path = local / "file"
    path.write_bytes(b"content")
    age()
    hash_files([path], memo=open_memo(local))
    for algorithm in ("sha256", "md5-whole"):
        assert hash_files([path], algorithm, memo=open_memo(local)) == hash_files([path], algorithm)


async def test_a_large_file_is_not_read_again_to_be_saved_in_place(local: Path, tmp_path: Path) -> None:
    path = local / "file-large"
    await asyncio.to_thread(path.write_bytes, os.urandom(9 << 20))
    await asyncio.to_thread(age)
    script = """
import asyncio, sys, inhaul
from inhaul.hashing import memo
memo.SAMPLE = 1 << 62
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        artifact = await inhaul.Artifact(sys.argv[3])
        await artifact.save()
asyncio.run(main())
"""
    _, calls = await asyncio.to_thread(
        traced, tmp_path, script, str(local), f"sqlite:///{tmp_path}/registry.db", str(path)
    )
    opened = [call for call in calls if "open" in call and "O_PATH" not in call]
    assert len(opened) == 2, "a look at the size, then the parts; nothing when it is saved"

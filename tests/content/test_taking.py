"""A file is read once when it is saved. Its temporary copy is removed if it is not stored."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact, Run, Storage, Transform
from inhaul.content import files
from inhaul.errors import FileChanged, KeyExists, StorageFull
from inhaul.stores.local.store import LocalStore
from trees import write

LARGE = 6 << 20  # bytes: such a file is not kept in memory


def large(path: Path, seed: int = 0) -> Path:
    path.write_bytes(bytes([seed]) + os.urandom(LARGE - 1))
    return path


def read_bytes() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def temporary(instance: inhaul.Instance) -> list[str]:
    folder = Path(instance.root) / ".inhaul" / "temporary"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


async def test_a_large_file_is_read_once(instance: inhaul.Instance, tmp_path: Path) -> None:
    path = large(tmp_path / "a.bin")
    await instance.open()
    before = read_bytes()
    artifact = await Artifact(path, key="a.bin").save()
    assert read_bytes() - before < 1.2 * LARGE
    assert artifact.path.read_bytes() == path.read_bytes()
    assert artifact.hash == (await Artifact(path, key="b.bin")).hash
    assert temporary(instance) == []


async def test_a_new_version_of_another_size_is_read_once(instance: inhaul.Instance, tmp_path: Path) -> None:
    first = await Artifact(large(tmp_path / "a.bin"), key="a.bin").save()
    path = write(tmp_path / "b.bin", "b" * (LARGE + 1))
    before = read_bytes()
    second = await Artifact(path, key="a.bin").save()
    assert read_bytes() - before < 1.2 * LARGE
    assert (second.stem_uid, second.path.read_bytes()) == (first.stem_uid, path.read_bytes())


async def test_nothing_is_written_for_content_that_is_registered(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = large(tmp_path / "a.bin")
    known = await Artifact(path, key="a.bin").save()
    monkeypatch.setattr(LocalStore, "copy", None)
    assert await Artifact(path, key="a.bin").save() == known
    assert await Artifact(path, description="the same").save() == known


async def test_other_content_of_the_same_size_is_a_new_version(instance: inhaul.Instance, tmp_path: Path) -> None:
    await Artifact(large(tmp_path / "a.bin", 1), key="a.bin").save()
    path = large(tmp_path / "b.bin", 2)
    second = await Artifact(path, key="a.bin").save()
    assert second.version == "2"
    assert second.path.read_bytes() == path.read_bytes()


async def test_saves_of_one_key_at_once_leave_no_copy(instance: inhaul.Instance, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.bin", "b" * (LARGE + number)) for number in range(4)]
    await inhaul.save([Artifact(path, key="a.bin") for path in paths])
    assert await Artifact.filter(key="a.bin").count() == 4
    assert temporary(instance) == []
    assert not (await inhaul.gc(older_than=timedelta(0))).objects


async def test_a_copy_that_gc_took_is_made_again(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalStore.put_temporary

    def taken(store: LocalStore, new: str, object_key: str, exclusive: bool) -> str:
        Path(store.root, ".inhaul/temporary", new).unlink()
        return put(store, new, object_key, exclusive)

    monkeypatch.setattr(LocalStore, "put_temporary", taken)
    path = large(tmp_path / "a.bin")
    artifact = await Artifact(path, key="a.bin").save()
    assert artifact.path.read_bytes() == path.read_bytes()


async def test_a_copy_goes_when_the_artifact_cannot_be_registered(instance: inhaul.Instance, tmp_path: Path) -> None:
    await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", version="2").save()
    path = large(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="There is a version"):
        await Artifact(path, key="a.txt", version="2").save()
    await Artifact(path, key="b.txt").save()
    with pytest.raises(KeyExists):
        await Artifact(path, key="b.txt", on_duplicate="error").save()
    assert temporary(instance) == []


async def test_a_file_that_cannot_be_understood_leaves_no_copy(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*arguments: object) -> None:
        raise ValueError("damaged")

    monkeypatch.setattr("inhaul.content.files.suffixes.observations", damaged)
    with pytest.raises(ValueError, match="damaged"):
        await Artifact(large(tmp_path / "a.bin"), key="a.bin").save()
    assert temporary(instance) == []


async def test_a_large_file_that_is_not_registered_leaves_no_storage(instance: inhaul.Instance, tmp_path: Path) -> None:
    old = await Artifact(write(tmp_path / "a.bin", "a"), key="a.bin").save()
    await old.delete()
    root = tmp_path / "another"
    with pytest.raises(ValueError, match="trash"):
        await Artifact(large(tmp_path / "b.bin"), is_new_version_of=old, storage=root).save()
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert await Storage.filter(root=str(root)).count() == 0


async def test_a_run_that_cannot_be_saved_leaves_no_storage(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*arguments: object) -> None:
        raise ValueError("refused")

    monkeypatch.setattr(Run, "_save", refuse)
    root = tmp_path / "another"
    with pytest.raises(ValueError, match="refused"):
        await Artifact(large(tmp_path / "a.bin"), key="a.bin", run=Run(Transform("t")), storage=root).save()
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert await Storage.filter(root=str(root)).count() == 0


async def test_a_pipe_in_the_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a")
    os.mkfifo(tmp_path / "pipe")
    assert files._whole(path, 1) == b"a"
    assert files._whole(tmp_path / "pipe", 1) is None


async def test_a_full_disk_leaves_no_copy(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await instance.open()
    monkeypatch.setattr("inhaul.stores.local.store._core.copy_file", full)
    artifact = Artifact(large(tmp_path / "a.bin"), key="a.bin")
    with pytest.raises(StorageFull, match=f"{LARGE:,}|{LARGE}"):
        await artifact.save()
    monkeypatch.undo()
    assert (await artifact.save()).path.stat().st_size == LARGE


async def test_a_small_file_that_changes_while_it_is_read_is_hashed_as_large_ones_are(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt", "old")
    whole = files._whole
    monkeypatch.setattr(files, "_whole", lambda path, size: whole(path, size - 1))
    assert (await Artifact(path, key="a.txt").save()).path.read_text() == "old"


async def test_a_staged_file_that_changes_before_it_is_saved_is_refused(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt", "old")
    artifact = await Artifact(path, key="a.txt")
    write(path, "newer")
    with pytest.raises(FileChanged):
        await artifact.save()

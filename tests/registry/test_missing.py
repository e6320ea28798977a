"""What is gone from a folder is reported, and moved into the trash if asked to."""

import json
import shutil
from pathlib import Path

import pytest

import inhaul
from commands import inhaul as run_inhaul
from disks import disk
from inhaul import Artifact, Collection, Feature, ULabel
from inhaul.registry.model.visibility import Visibility
from s3_places import Bucket
from trees import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten files, outside the storage."""
    folder = tmp_path / "data"
    for number in range(10):
        write(folder / "ab"[number % 2] / f"{number}.txt", f"content {number}")
    return folder


async def live_keys() -> set[str]:
    return {artifact.key async for artifact in Artifact.filter()}


async def test_nothing_is_missing_from_a_whole_folder(instance: inhaul.Instance, folder: Path) -> None:
    for _ in range(2):
        report = await inhaul.ingest(folder, prune=True)
        assert (report.missing, report.n_missing, report.moved, report.pruned) == ([], 0, [], 0)


async def test_missing_files_are_listed_and_stay_without_prune(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    (folder / "a" / "0.txt").unlink()
    shutil.rmtree(folder / "b")
    for _ in range(2):
        report = await inhaul.ingest(folder)
        assert [one.key for one in report.missing] == ["data/a/0.txt", *(f"data/b/{n}.txt" for n in (1, 3, 5, 7, 9))]
        assert report.n_missing == 6
        assert report.pruned == 0
    assert len(await live_keys()) == 10
    assert all([(await Artifact.filter(uid=one.uid).one()).key == one.key for one in report.missing])


async def test_prune_moves_them_into_the_trash(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    (folder / "a" / "0.txt").unlink()
    report = await inhaul.ingest(folder, prune=True)
    assert (report.n_missing, report.pruned, dict(report.not_pruned)) == (1, 1, {})
    gone = await Artifact.filter(key="data/a/0.txt", visibility=Visibility.trash).one()
    assert gone.path.read_text() == "content 0"
    report = await inhaul.ingest(folder, prune=True)
    assert (report.n_missing, report.pruned) == (0, 0)
    await gone.restore()
    assert "data/a/0.txt" in await live_keys()


async def test_files_in_place_are_pruned_too(tmp_path: Path, database_url: str) -> None:
    root = tmp_path / "storage"
    for number in range(4):
        write(root / "data" / f"{number}.txt", f"content {number}")
    async with inhaul.connect(storage=root, db=database_url):
        await inhaul.ingest(root / "data")
        virtual = await Artifact(write(tmp_path / "x.txt", "x"), key="data/x.txt").save()
        (root / "data" / "0.txt").unlink()
        (root / "data" / "1.txt").rename(root / "data" / "moved.txt")
        report = await inhaul.ingest(root / "data", prune=True)
        assert [one.key for one in report.missing] == ["data/0.txt", "data/1.txt"]
        assert [tuple(one) for one in report.moved] == [("data/1.txt", "data/moved.txt")]
        assert await live_keys() == {"data/2.txt", "data/3.txt", "data/moved.txt", virtual.key}
        # Their objects were the files of the user, so the trash cannot give them back.
        assert [one.key for one in (await inhaul.verify(read=True)).findings] == ["data/0.txt", "data/1.txt"]


async def test_a_moved_file_goes_on_in_its_family(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    old = await Artifact.filter(key="data/a/0.txt").one()
    label = await ULabel(name="lung").save()
    await Feature(name="depth", dtype="int").save()
    await old.labels.add(label)
    await old.features.add_values({"depth": 3})
    old.description = "a lung"
    await old.save()
    (folder / "c").mkdir()
    (folder / "a" / "0.txt").rename(folder / "c" / "new name.txt")
    report = await inhaul.ingest(folder, prune=True)
    assert [tuple(one) for one in report.moved] == [("data/a/0.txt", "data/c/new name.txt")]
    assert report.pruned == 1
    new = await Artifact.filter(key="data/c/new name.txt").one()
    assert new.uid[:16] == old.uid[:16]
    assert new.uid > old.uid
    assert new.version == "2"
    assert new.is_latest
    assert new.description == "a lung"
    assert [one.name for one in await new.ulabels.all()] == ["lung"]
    assert (await new.features.get_values())["depth"] == 3
    assert new.path.read_text() == "content 0"
    assert (await inhaul.verify(read=True)).findings == []
    assert (await inhaul.gc(delete=False)).objects == []
    report = await inhaul.ingest(folder, prune=True)
    assert report.counts["unchanged"] == 10
    assert report.n_missing == 0


async def test_a_moved_folder_with_equal_files(instance: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("x", "y", "z"):
        write(folder / "old" / name / "same.txt", "same")
        write(folder / "old" / name / f"{name}.txt", "same, too")
    await inhaul.ingest(folder)
    (folder / "old").rename(folder / "new")
    report = await inhaul.ingest(folder)
    assert {(one.old_key, one.new_key) for one in report.moved} == {
        (f"data/old/{name}/{name}.txt", f"data/new/{name}/{name}.txt") for name in "xyz"
    }
    assert report.n_missing == 6


async def test_a_copy_of_a_file_did_not_move(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    shutil.copy(folder / "a" / "0.txt", folder / "copy.txt")
    shutil.copy(folder / "a" / "2.txt", folder / "copy 1.txt")
    shutil.copy(folder / "a" / "2.txt", folder / "copy 2.txt")
    (folder / "a" / "2.txt").unlink()
    report = await inhaul.ingest(folder, prune=True)
    assert report.moved == []
    assert report.pruned == 1


async def test_an_empty_folder_is_not_pruned_unless_forced(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    report = await inhaul.ingest(folder, prune=True)
    assert report.n_missing == 10
    assert report.pruned == 0
    assert [(count, "empty" in why) for why, count in report.not_pruned.items()] == [(10, True)]
    assert len(await live_keys()) == 10
    planned = await inhaul.ingest(folder, prune=True, dry_run=True)
    assert (planned.n_missing, planned.not_pruned) == (10, report.not_pruned)
    planned = await inhaul.ingest(folder, prune="force", dry_run=True)
    assert (planned.n_missing, planned.pruned, planned.not_pruned) == (10, 0, {})
    assert len(await live_keys()) == 10
    report = await inhaul.ingest(folder, prune="force")
    assert report.pruned == 10
    assert await live_keys() == set()


@pytest.mark.parametrize("below", ["", "a/mounted"])
async def test_an_unmounted_folder_is_not_pruned(instance: inhaul.Instance, folder: Path, below: str) -> None:
    point = folder / below
    point.mkdir(exist_ok=True)
    if below == "":
        shutil.rmtree(folder)
        folder.mkdir()
    write(point / "left behind.txt", "on the disk below")
    with disk(point, "1m"):
        write(point / "1.txt", "one")
        write(point / "2.txt", "two")
        await inhaul.ingest(folder)
        (point / "1.txt").unlink()
        assert (await inhaul.ingest(folder)).n_missing == 1
    report = await inhaul.ingest(folder, prune=True)
    assert report.n_missing == 2
    assert report.pruned == 0
    assert [(count, f"{point} is not mounted" in why) for why, count in report.not_pruned.items()] == [(2, True)]
    assert (await inhaul.ingest(folder, prune="force")).pruned == 2
    assert (await inhaul.ingest(folder, prune=True)).n_missing == 0


async def test_members_of_collections_stay(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    member = await Artifact.filter(key="data/a/0.txt").one()
    await Collection([member], name="chosen").save()
    (folder / "a" / "0.txt").unlink()
    (folder / "a" / "2.txt").unlink()
    report = await inhaul.ingest(folder, prune=True)
    assert (report.n_missing, report.pruned) == (2, 1)
    assert [(count, "collection" in why) for why, count in report.not_pruned.items()] == [(1, True)]


async def test_excluded_files_are_not_missing(instance: inhaul.Instance, folder: Path) -> None:
    await inhaul.ingest(folder)
    report = await inhaul.ingest(folder, exclude=["*.txt"], prune="force")
    assert report.n_missing == 0


async def test_a_dry_run_writes_nothing(tmp_path: Path, folder: Path, database_url: str) -> None:
    async with inhaul.connect(storage=tmp_path / "storage", db=database_url):
        report = await inhaul.ingest(folder, dry_run=True)
        assert {(one.status, one.key) for one in report.changes} == {
            ("new", f"data/{'ab'[number % 2]}/{number}.txt") for number in range(10)
        }
        assert not (tmp_path / "storage").exists()
        await inhaul.ingest(folder)
        (folder / "a" / "0.txt").unlink()
        (folder / "a" / "2.txt").rename(folder / "moved.txt")
        write(folder / "b" / "1.txt", "changed")
        report = await inhaul.ingest(folder, dry_run=True)
        assert {(one.status, one.key) for one in report.changes} == {
            ("new", "data/moved.txt"),
            ("new_version", "data/b/1.txt"),
        }
        assert [one.key for one in report.missing] == ["data/a/0.txt", "data/a/2.txt"]
        assert [tuple(one) for one in report.moved] == [("data/a/2.txt", "data/moved.txt")]
        assert len(await live_keys()) == 10


@pytest.mark.parametrize("options", [{"prune": "all"}, {"prune": True, "paths": ["x"]}])
async def test_bad_options(instance: inhaul.Instance, folder: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="prune"):
        await inhaul.ingest(folder, **options)  # type: ignore[arg-type]


async def test_folders_in_buckets(s3_root: str, bucket: Bucket, database_url: str) -> None:
    async with inhaul.connect(storage=s3_root, db=database_url):
        for number in range(4):
            bucket.put(f"data/{number}.txt", str(number).encode())
        assert (await inhaul.ingest(bucket.address("data"))).counts["new"] == 4
        bucket.remove("data/2.txt")
        bucket.remove("data/3.txt")
        bucket.put("data/moved.txt", b"3")
        report = await inhaul.ingest(bucket.address("data"), prune=True)
        assert [one.key for one in report.missing] == ["data/2.txt", "data/3.txt"]
        assert [tuple(one) for one in report.moved] == [("data/3.txt", "data/moved.txt")]
        assert report.pruned == 2
        assert await live_keys() == {"data/0.txt", "data/1.txt", "data/moved.txt"}


def test_the_shell(tmp_path: Path, folder: Path) -> None:
    assert run_inhaul("ingest", folder, cwd=tmp_path).returncode == 0
    (folder / "a" / "0.txt").unlink()
    (folder / "a" / "2.txt").rename(folder / "a" / "moved.txt")
    shown = run_inhaul("ingest", folder, "--dry-run", cwd=tmp_path).stdout
    assert "missing\tdata/a/0.txt" in shown
    assert "moved\tdata/a/2.txt\tdata/a/moved.txt" in shown
    shown = run_inhaul("ingest", folder, "--prune", cwd=tmp_path).stdout
    assert "pruned" in shown
    shutil.rmtree(folder)
    folder.mkdir()
    done = run_inhaul("ingest", folder, "--prune", cwd=tmp_path)
    assert "empty" in done.stderr


def test_the_shell_prints_json(tmp_path: Path, folder: Path) -> None:
    assert run_inhaul("ingest", folder, cwd=tmp_path).returncode == 0
    (folder / "a" / "0.txt").unlink()
    (folder / "a" / "2.txt").rename(folder / "a" / "moved.txt")
    lines = [
        json.loads(line)
        for line in run_inhaul("ingest", folder, "--dry-run", "--json", cwd=tmp_path).stdout.splitlines()
    ]
    events = [line["event"] for line in lines if line["event"] != "progress"]
    assert events == ["change", "missing", "missing", "moved", "report"]
    assert lines[-1]["missing"] == 2
    shutil.rmtree(folder)
    folder.mkdir()
    lines = [
        json.loads(line) for line in run_inhaul("ingest", folder, "--prune", "--json", cwd=tmp_path).stdout.splitlines()
    ]
    assert [line["files"] for line in lines if line["event"] == "not_pruned"] == [10]


async def test_many_files_move_at_once(instance: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number in range(300):
        write(folder / "old" / f"{number}.txt", f"content {number}")
    await inhaul.ingest(folder)
    stems = {artifact.key.replace("/old/", "/new/"): artifact.uid[:16] async for artifact in Artifact.filter()}
    (folder / "old").rename(folder / "new")
    report = await inhaul.ingest(folder, prune=True)
    assert (report.n_moved, report.pruned) == (300, 300)
    assert {artifact.key: artifact.uid[:16] async for artifact in Artifact.filter()} == stems
    assert not (await inhaul.verify(read=True)).findings
    assert not (await inhaul.gc(delete=False)).objects

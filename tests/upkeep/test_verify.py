"""What `verify` finds, and when it trusts earlier calls."""

import asyncio
import random
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Defect, Storage, connect, verify
from inhaul.cache import Entry
from inhaul.content import removal
from inhaul.errors import NoResultFound, ObjectMissing
from inhaul.hashing import hash_bytes
from inhaul.registry.verbs import replace
from inhaul.upkeep import check
from registries import seeds
from trees import grow, write

PLANTED = (Defect.MISSING, Defect.TRUNCATED, Defect.SWAPPED, Defect.ALTERED, Defect.WRONG_SIZE, Defect.EXTRA)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that all differ, so that swapped bytes can be told."""
    tree, rng = tmp_path / "tree", random.Random(1)
    for number in range(300):
        file = tree / f"d{number % 7}" / f"f{number:03d}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(rng.randrange(10, 3000)))
    return tree


def plant(rng: random.Random, url: str, root: Path, artifacts: list[Artifact], count: int) -> dict[str, Defect]:
    """Damages objects and rows. Returns the defects by uid, or by path for an extra object."""
    planted: dict[str, Defect] = {}
    left = rng.sample(artifacts, len(artifacts))
    for number in range(count):
        defect, it = PLANTED[number % len(PLANTED)], left.pop()
        path = root / (it.object_key or "")
        content = path.read_bytes()
        match defect:
            case Defect.MISSING:
                path.unlink()
            case Defect.TRUNCATED:
                path.write_bytes(content[: rng.randrange(len(content))])
            case Defect.ALTERED:
                at = rng.randrange(len(content))
                path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
            case Defect.SWAPPED:
                path.write_bytes((root / (left.pop().object_key or "")).read_bytes())
            case Defect.WRONG_SIZE:
                with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
                    connection.execute("UPDATE artifact SET size = size + 1 WHERE uid = ?", [it.uid])
                connection.close()
            case Defect.EXTRA:
                extra = path.with_name(f"{rng.randrange(10**20):020d}.bin")
                extra.write_bytes(content)
                planted[str(extra)] = defect
                continue
        planted[it.uid] = defect
    return planted


@pytest.mark.parametrize("place", ["copied", "in place"])
@seeds(1, 20)
async def test_all_planted_defects_are_found_and_nothing_else(
    tmp_path: Path, tree: Path, place: str, seed: int
) -> None:
    url, root = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage"
    if place == "in place":
        tree = shutil.move(tree, root / "tree")
    async with connect(root, url):
        artifacts = await Artifact.from_dir(tree).save()
        report = await verify()
        assert (report.ok, report.checked, report.findings) == (True, 300, [])
        assert report.read == sum(path.stat().st_size for path in tree.rglob("*.bin"))

        (root / ".inhaul" / "Z").mkdir(parents=True, exist_ok=True)
        count = 50
        planted = await asyncio.to_thread(plant, random.Random(seed), url, root, list(artifacts), count)
        if place == "in place":  # there, what is not registered is a user's own file
            planted = {name: defect for name, defect in planted.items() if defect != Defect.EXTRA}
        report = await verify()
        found = {finding.uid or finding.path: finding.defect for finding in report.findings}
        assert len(report.findings) == len(planted)
        assert found == planted
        assert not report.ok
        listed = {finding.uid: finding.defect for finding in (await artifacts.verify()).findings}
        assert listed == {name: defect for name, defect in planted.items() if defect != Defect.EXTRA}


async def test_a_finding_says_what_is_wrong(tmp_path: Path, database_url: str) -> None:
    async with connect(tmp_path / "storage", database_url):
        (tmp_path / "x.csv").write_text("x")
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
        it.path.write_text("y")
        (finding,) = (await it.verify()).findings
        x, y = hash_bytes(b"x"), hash_bytes(b"y")
        assert finding.detail == f"1 bytes, md5 {y.hash}, instead of 1 bytes, md5 {x.hash}"
        assert (finding.defect, finding.uid, finding.key, finding.path) == ("altered", it.uid, "x.csv", str(it.path))


@pytest.mark.parametrize("what", ["a file is altered", "a file is gone", "a file more", "all is gone"])
async def test_a_damaged_folder_is_found(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "x.zarr"
    grow(folder, 20)
    async with connect(tmp_path / "storage"):
        it = await Artifact(folder, key="x.zarr").save()
        assert (await verify()).ok
        assert (await it.verify()).ok
        some = next(path for path in it.path.rglob("*") if path.is_file() and path.stat().st_size)
        match what:
            case "a file is altered":
                some.write_bytes(b"\0" * some.stat().st_size)
            case "a file is gone":
                some.unlink()
            case "a file more":
                (it.path / "more").write_text("1")
            case "all is gone":
                shutil.rmtree(it.path)
        (finding,) = (await verify()).findings
        assert finding.uid == it.uid
        assert finding.defect in (Defect.ALTERED, Defect.TRUNCATED, Defect.WRONG_SIZE, Defect.MISSING)
        assert [finding] == (await it.verify()).findings


async def test_what_a_later_version_replaced_in_place_is_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    root.mkdir()
    async with connect(root):
        (root / "x.csv").write_text("old")
        old = await Artifact(root / "x.csv").save()
        (root / "x.csv").write_text("new")
        new = await Artifact(root / "x.csv").save()
        report = await verify()
        assert (report.ok, report.checked) == (True, 1)
        assert [one.uid for one in report.superseded] == [old.uid]
        assert [one.uid for one in (await (await Artifact.get(old.uid)).verify()).superseded] == [old.uid]
        assert (await new.verify()).superseded == []


async def test_one_object_of_two_rows_is_missed_for_neither(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    root.mkdir()
    async with connect(root):
        (root / "x.csv").write_text("content")
        await (await Artifact(root / "x.csv").save()).delete()
        changed = {"id": "id + 1", "uid": "substr(uid, 2) || substr(uid, 1, 1)", "visibility": "0"}
        with sqlite3.connect(root / ".inhaul" / "registry.db") as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(artifact)")]
            values = ", ".join(changed.get(column, column) for column in columns)
            connection.execute(f"INSERT INTO artifact SELECT {values} FROM artifact")  # noqa: S608
        connection.close()
        report = await verify()
        assert (report.checked, report.findings) == (2, [])


async def test_a_folder_in_the_place_of_a_file_is_found(tmp_path: Path) -> None:
    async with connect(tmp_path / "storage"):
        (tmp_path / "x.csv").write_text("x")
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
        it.path.unlink()
        it.path.mkdir()
        (finding,) = (await verify()).findings
        assert finding.uid == it.uid


async def test_a_running_ingest_has_no_extra_objects(tmp_path: Path, tree: Path) -> None:
    async with connect(tmp_path / "storage"):
        await inhaul.ingest(tree)
        reports = []

        async def watch() -> None:
            while not ingesting.done():
                reports.append(await verify())

        grow(tmp_path / "more", 500)
        ingesting = asyncio.ensure_future(inhaul.ingest(tmp_path / "more"))
        await asyncio.gather(ingesting, watch())
        assert reports
        assert [report.findings for report in reports if report.findings] == []


@pytest.mark.parametrize("way", ["delete", "replace"])
async def test_an_object_that_another_call_is_just_removing_is_not_extra(
    tmp_path: Path, database_url: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = asyncio.Event()
    changed = asyncio.Event()
    remove, remove_old = removal._remove, replace._remove_old

    async def late(*args: Any, **options: Any) -> None:
        changed.set()
        await goes_on.wait()
        await (remove if way == "delete" else remove_old)(*args, **options)

    monkeypatch.setattr(removal, "_remove", late)
    monkeypatch.setattr(replace, "_remove_old", late)
    async with connect(tmp_path / "storage", database_url):
        it = await Artifact(write(tmp_path / "x.txt", "x"), key="x.txt").save()
        other = it.delete(permanent=True) if way == "delete" else it.replace(write(tmp_path / "y.txt", "y"))
        calling = asyncio.ensure_future(other)
        await changed.wait()
        asyncio.get_running_loop().call_later(0.5 if way == "replace" else 3, goes_on.set)
        report = await verify()
        assert (report.ok, report.findings) == (True, [])
        await calling


async def test_an_artifact_that_is_deleted_while_its_object_is_looked_for_is_not_missing(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(tmp_path / "storage", database_url):
        it = await Artifact(write(tmp_path / "x.txt", "x"), key="x.txt").save()
        kept = await Artifact(write(tmp_path / "y.txt", "y"), key="y.txt").save()
        look = check.look

        async def after_the_deletion(store: Any, row: Any) -> Any:
            if row.uid == it.uid:
                await it.delete(permanent=True)
            return await look(store, row)

        monkeypatch.setattr(check, "look", after_the_deletion)
        for one in (it, kept):
            one.path.unlink()
        assert [finding.uid for finding in (await verify()).findings] == [kept.uid]


class Reads:
    """Counts what is hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> None:
        self.files = 0
        original = inhaul.hashing.hash_files

        def hash_files(paths: list[Path], *rule: str, **options: object) -> object:
            self.files += len(paths)
            if stop_after is not None and self.files > stop_after:
                raise KeyError("interrupted")
            return original(paths, *rule, **options)

        monkeypatch.setattr(inhaul.hashing, "hash_files", hash_files)


async def test_an_interrupted_call_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    grow(tree, 3000, largest=20)
    async with connect(tmp_path / "storage"):
        artifacts = await Artifact.from_dir(tree).save()
        with monkeypatch.context() as patch:
            interrupted = Reads(patch, stop_after=1500)
            with pytest.raises(KeyError):
                await verify()
        with monkeypatch.context() as patch:
            rest = Reads(patch)
            report = await verify()
            assert report.ok
            assert report.trusted > 0
            assert report.trusted + report.checked == 3000
            assert rest.files == report.checked < 3000
        with monkeypatch.context() as patch:
            again = Reads(patch)
            assert (await verify()).checked == again.files == 3000, "the call before came to its end"
        assert interrupted.files > 1500
        assert len(artifacts) == 3000


async def test_what_has_changed_is_read_although_it_was_verified_lately(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(tmp_path / "storage") as instance:
        artifacts = await Artifact.from_dir(tree).save()
        await verify()
        reads = Reads(monkeypatch)
        report = await verify(max_age=timedelta(days=1))
        assert (report.trusted, report.checked, reads.files) == (300, 0, 0)
        artifacts[7].path.write_bytes(b"?" * artifacts[7].size)
        report = await verify(max_age=timedelta(days=1))
        assert [finding.uid for finding in report.findings] == [artifacts[7].uid]
        assert report.trusted + report.checked == 300
        assert (await verify(max_age=timedelta(days=1))).findings, "what was wrong is looked at again"
        assert (await verify(max_age=timedelta(0))).checked == 300
        (state,) = (instance.home / "verified").iterdir()
        assert len(state.read_bytes()) < 5000
        state.write_bytes(b"{")
        with pytest.warns(UserWarning, match="damaged"):
            assert (await verify(max_age=timedelta(days=1))).checked == 300


async def test_damaged_objects_are_repaired_from_equal_bytes(tmp_path: Path, tree: Path) -> None:
    url, root = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage"
    (tmp_path / "twin.bin").write_bytes((tree / "d0" / "f000.bin").read_bytes())
    async with connect(root, url) as instance:
        artifacts = await Artifact.from_dir(tree).save()
        await Artifact(tmp_path / "twin.bin", key="twin.bin").save()
        for at in (0, 1, 2, 3):
            artifacts[at].path.write_bytes(b"bad")
        cached = artifacts[1]
        entry = Entry(cached.uid, cached.suffix, hash_bytes((tree / "d0" / "f007.bin").read_bytes()), False)

        async def fetch(target: Path) -> None:
            await asyncio.to_thread(shutil.copy, tree / "d0" / "f007.bin", target)

        await instance.cache.get(entry, fetch)
        report = await verify(repair=True)
        repaired = {finding.uid: finding.detail for finding in report.findings if finding.repaired}
        assert set(repaired) == {artifacts[0].uid, artifacts[1].uid}
        assert "from artifact" in repaired[artifacts[0].uid]
        assert "cache" in repaired[artifacts[1].uid]
        assert not report.ok
        assert all("no equal copy" in finding.detail for finding in report.findings if not finding.repaired)

        (tree / "d0" / "f021.bin").write_bytes(b"other by now")
        report = await artifacts.verify(repair=True)
        assert {finding.uid: finding.repaired for finding in report.findings} == {
            artifacts[2].uid: True,
            artifacts[3].uid: False,
        }
        (finding,) = (await verify()).findings
        assert finding.uid == artifacts[3].uid


async def test_a_file_in_place_is_never_repaired(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    root.mkdir()
    async with connect(root):
        (root / "x.csv").write_text("old")
        (tmp_path / "old.csv").write_text("old")
        it = await Artifact(root / "x.csv").save()
        await Artifact(tmp_path / "old.csv", key="old.csv").save()
        (root / "x.csv").write_text("new")
        (finding,) = (await it.verify(repair=True)).findings
        assert not finding.repaired
        assert "left as it is" in finding.detail
        assert (root / "x.csv").read_text() == "new"


async def test_folders_are_repaired(tmp_path: Path) -> None:
    folder = tmp_path / "x.zarr"
    grow(folder, 20)
    async with connect(tmp_path / "storage"):
        it = await Artifact(folder, key="x.zarr").save()
        twin = await Artifact(folder, key="y.zarr").save()
        shutil.rmtree(it.path)
        (finding,) = (await verify(repair=True)).findings
        assert finding.repaired
        assert twin.uid in finding.detail
        assert (await verify()).ok


async def test_cache_of_a_local_list_gives_the_paths_of_its_objects(tmp_path: Path, tree: Path) -> None:
    async with connect(tmp_path / "storage"):
        artifacts = await Artifact.from_dir(tree).save()
        paths = await artifacts.cache()
        assert [path.read_bytes() for path in paths] == [file.read_bytes() for file in sorted(tree.rglob("*.bin"))]
        paths[5].unlink()
        with pytest.raises(ObjectMissing):
            await artifacts.cache()


async def test_a_storage_that_is_not_registered_is_refused(tmp_path: Path) -> None:
    async with connect(tmp_path / "storage"):
        with pytest.raises(NoResultFound, match=r"not a storage .*: nothing has been saved with it yet"):
            await verify()
        with pytest.raises(ValueError, match="not saved"):
            await Artifact(tmp_path, key="x").verify()
        await Artifact(write(tmp_path / "x.csv", "x"), key="x.csv").save()
    (tmp_path / "storage").rename(tmp_path / "moved")
    async with connect(tmp_path / "moved"):
        assert (await verify()).ok
    async with connect(tmp_path / "another", f"sqlite:///{tmp_path}/moved/.inhaul/registry.db"):
        with pytest.raises(
            NoResultFound, match=f"not a storage .*: its storages are {tmp_path}/moved. .*inhaul storage move"
        ):
            await verify()


async def test_a_given_storage_is_verified(tmp_path: Path, database_url: str) -> None:
    async with connect(tmp_path / "first", database_url):
        other = await Storage(tmp_path / "second").save()
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "x.csv").write_text("x")
        it = await Artifact(tmp_path / "second" / "x.csv").save()
        assert (await other.verify()).checked == 1
        assert (await verify(other)).checked == 1
        (tmp_path / "second" / "x.csv").unlink()
        assert [finding.uid for finding in (await other.verify()).findings] == [it.uid]


def test_the_blocking_api_verifies(tmp_path: Path, tree: Path) -> None:
    with inhaul.sync.connect(tmp_path / "storage"):
        artifacts = inhaul.sync.Artifact.from_dir(tree).save()
        assert inhaul.sync.verify().ok
        assert artifacts.verify().ok
        assert artifacts[0].verify().checked == 1
        assert inhaul.sync.Storage.objects.one().verify().ok

"""Projects that are copied or moved as a whole, and the roots of their storages."""

import random
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

import inhaul
from inhaul import Artifact, Storage, connect
from inhaul.db import roots, tables
from inhaul.hashing import hash_bytes
from inhaul.stores.s3.address import S3Address
from registries import query, seeds
from trees import grow, write


def _places(project: Path, layout: str) -> tuple[Path | None, str | None]:
    """Returns the arguments of `connect`."""
    if layout == "default":
        return None, None
    if layout == "root":
        return project / "data", None
    return project / "objects" / "here", f"sqlite:///{project}/reg.db"


LAYOUTS = pytest.mark.parametrize("layout", ["default", "root", "db"])


async def _make(project: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    project.mkdir()
    monkeypatch.chdir(project)
    (project / "x.csv").write_text("a\n1\n")
    async with connect(*_places(project, layout)):
        return await Artifact("x.csv", key="x.csv").save()


@LAYOUTS
async def test_a_local_root_inside_the_folder_of_its_registry_is_recorded_relative(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "it's a project"
    it = await _make(project, layout, monkeypatch)
    async with connect(*_places(project, layout)) as instance:
        outside = await Storage(tmp_path / "elsewhere").save()
        rows = await query(f"sqlite:///{instance.database.path}", "SELECT root FROM storage ORDER BY id")
        inside = {"default": ".inhaul/storage", "root": ".", "db": "objects/here"}[layout]
        assert [row["root"] for row in rows] == [inside, str(tmp_path / "elsewhere")]
        assert (it.storage.root, outside.root) == (instance.root, str(tmp_path / "elsewhere"))
        for lookup in (
            {"root": instance.root},
            {"root__in": [instance.root]},
            {"root__startswith": f"{tmp_path}/it's"},
            {"root__contains": "/it's a project"},
            {"root__endswith": instance.root[-7:]},
            {"root__icontains": "A PROJECT"},
            {"root__gt": f"{tmp_path}/f"},
        ):
            assert [one.root for one in await Storage.filter(**lookup).all()] == [instance.root], lookup
        assert [one.root for one in await Storage.search("it's").all()] == [instance.root]
        assert set((await Storage.objects.df())["root"]) == {instance.root, outside.root}
        assert await Artifact.filter(storage__root=instance.root).count() == 1


@LAYOUTS
@pytest.mark.parametrize("command", [shutil.copytree, shutil.move])
async def test_a_project_that_is_copied_or_moved_finds_its_own_objects(
    tmp_path: Path, layout: str, command: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    it = await _make(project, layout, monkeypatch)
    command(project, other)  # type: ignore[operator]
    monkeypatch.chdir(other)
    async with connect(*_places(other, layout)):
        again = await Artifact("x.csv", key="x.csv").save()
        assert (again.uid, again.path) == (it.uid, other / it.path.relative_to(project))
        assert again.path.exists()
        assert await Storage.objects.count() == await Artifact.objects.count() == 1
        await again.delete(permanent=True)
        assert not again.path.exists()
    if command is shutil.copytree:
        assert it.path.read_text() == "a\n1\n"
        monkeypatch.chdir(project)
        async with connect(*_places(project, layout)):
            assert (await inhaul.verify()).ok


@seeds(1, 50)
async def test_whatever_is_done_in_a_copy_the_original_stays(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    project, copy, layout = tmp_path / "project", tmp_path / "copy", rng.choice(["default", "root", "db"])
    await _make(project, layout, monkeypatch)
    grow(project / "tree", 20, seed=seed)
    async with connect(*_places(project, layout)):
        await inhaul.ingest("tree")
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    async with connect(*_places(copy, layout)):
        for it in await Artifact.objects.all():
            match rng.randrange(4):
                case 0:
                    await it.delete(permanent=True)
                case 1:
                    await it.replace(write(copy / f"new{it.suffix}", f"{seed} {it.uid}"))
                case 2:
                    await Artifact(write(copy / f"new{it.suffix}", f"{it.uid} {seed}"), key=it.key).save()
        await inhaul.gc(delete=True, older_than=timedelta(0))
        assert (await inhaul.verify(read=True)).ok
    shutil.rmtree(copy)
    monkeypatch.chdir(project)
    async with connect(*_places(project, layout)):
        report = await inhaul.verify(read=True)
        assert (report.ok, report.checked) == (True, 21)
        assert (await inhaul.gc(older_than=timedelta(0))).objects == []


async def test_absolute_roots_of_older_registries_become_relative(tmp_path: Path) -> None:
    file = tmp_path / "lab" / "reg.db"
    file.parent.mkdir()
    old = sqlite3.connect(file)
    old.executescript((Path(__file__).parents[1] / "golden" / "0002.sql").read_text())
    old.execute("UPDATE storage SET root = ?", (str(tmp_path / "lab" / "objects"),))
    old.commit()
    old.close()
    async with connect(tmp_path / "lab" / "objects", f"sqlite:///{file}"):
        assert [one.root for one in await Storage.objects.all()] == [str(tmp_path / "lab" / "objects")]
    assert [row["root"] for row in await query(f"sqlite:///{file}", "SELECT root FROM storage")] == ["objects"]


@pytest.mark.parametrize("way", ["save", "from_dir", "ingest"])
@pytest.mark.parametrize("first", ["outer", "inner"])
async def test_a_file_in_two_nested_storages_is_registered_once(tmp_path: Path, first: str, way: str) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    file = write(inner / "data" / "x.csv", "a\n1\n")

    async def register() -> Artifact:
        if way == "save":
            await Artifact(file).save()
        elif way == "from_dir":
            await Artifact.from_dir(file.parent).save()
        else:
            await inhaul.ingest(file.parent)
        return await Artifact.filter(is_latest=True).one()

    async with connect(tmp_path / "default", f"sqlite:///{tmp_path}/elsewhere/reg.db"):
        await Storage(outer if first == "outer" else inner).save()
        it = await register()
        await Storage(inner if first == "outer" else outer).save()
        assert (await register()).uid == it.uid
        write(file, "a\n2\n")
        again = await register()
        assert (again.stem_uid, again.version, again.storage.root) == (it.stem_uid, "2", it.storage.root)
        write(inner / "data.csv", "new")
        assert (await Artifact(inner / "data.csv").save()).storage.root == str(inner), "the longest root, as ever"
        assert (await inhaul.verify(it.storage)).ok


@pytest.mark.parametrize("way", ["from_dir", "staged", "ingest", "drop"])
async def test_storages_inside_a_storage_are_left_out_of_its_walk(tmp_path: Path, way: str) -> None:
    outer = tmp_path / "outer"
    odd = "in {a} [b]*? "
    roots = [outer / "sub" / odd, outer / "inner"]
    files = {root: write(root / "data" / "x.csv", f"{root.name}") for root in roots}
    for name in ("a.csv", "inner2/a.csv", "sub/a.csv", "sub/inner/a.csv", f"{odd.strip()}/a.csv"):
        write(outer / name, name)

    async def register() -> tuple[int, list[tuple[Path, str]]]:
        if way == "ingest" or way == "drop":
            report = await inhaul.ingest(outer, duplicates="drop" if way == "drop" else "keep")
            assert report.failed == []
            return report.files, [(Path(issue.path), issue.reason) for issue in report.skipped]
        made = Artifact.from_dir(outer)
        if way == "staged":
            await made
            assert len(made.skipped) == 2
        await made.save()
        assert made.failed == []
        return len(made), [(Path(issue.path), issue.reason) for issue in made.skipped]

    async with connect(tmp_path / "default", f"sqlite:///{tmp_path}/elsewhere/reg.db"):
        for root in [outer, *roots, roots[1] / "data", outer / "is not there", outer / ".inhaul" / "storage"]:
            await Storage(root).save()
        skipped = [(root, "storage") for root in sorted(roots, key=lambda root: len(str(root)))]
        assert await register() == (5, skipped)
        assert await register() == (5, skipped)
        assert await Artifact.objects.count() == 5
        for root, file in files.items():
            report = await inhaul.ingest(root)
            assert report.files == (root == roots[0])  # the other one holds only a storage
            own = await Artifact(file).save()
            assert own.storage.root == str(file.parent if root == roots[1] else root)
        assert await register() == (5, skipped)
        assert await Artifact.objects.count() == 7


async def test_a_folder_in_which_the_outer_storage_has_files_is_still_its_own(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    write(inner / "x.csv", "1")
    async with connect(tmp_path / "default", f"sqlite:///{tmp_path}/elsewhere/reg.db"):
        await Storage(outer).save()
        await inhaul.ingest(outer)
        await Storage(inner).save()
        write(inner / "y.csv", "2")
        report = await inhaul.ingest(outer)
        assert (report.files, report.skipped) == (2, [])
        assert {it.storage.root async for it in Artifact.filter()} == {str(outer)}


def test_the_folder_of_a_registry_is_a_bound_value() -> None:
    dialect = sqlite.dialect()
    roots.set_folder(dialect, "/it's :a folder")
    statement = select(tables.storage.c.id).where(roots.whole(tables.storage.c.root).contains("folder"))
    assert "it" not in str(statement.compile(dialect=dialect))


@pytest.mark.parametrize("way", ["file", "folder", "inside", "far", "chain"])
async def test_links_into_another_storage_are_left_out_of_a_walk(tmp_path: Path, way: str) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "in [b]*"
    x = write(inner / "d" / "x.csv", "x")
    write(outer / "sub" / "a.csv", "a")
    link = outer / "sub" / "link"
    link.symlink_to({"file": x, "folder": inner, "inside": inner / "d", "far": outer, "chain": outer / "hop"}[way])
    (outer / "hop").symlink_to(inner / "d") if way == "chain" else None
    async with connect(tmp_path / "default", f"sqlite:///{tmp_path}/elsewhere/reg.db"):
        await Storage(outer).save()
        await Storage(inner).save()
        for folder, follow in ((outer, True), (outer / "sub", "anywhere")):
            report = await inhaul.ingest(folder, follow_symlinks=follow)  # type: ignore[arg-type]  # it is one of these
            skipped = {str(issue.path): str(issue.reason) for issue in report.skipped}
            assert report.failed == []
            expected = {str(inner): "storage"} if folder == outer else {}
            if way == "far":
                expected = {path: reason for path, reason in skipped.items() if reason != "storage"} | expected
            else:
                expected[str(link)] = "storage"
            if way == "chain" and folder == outer:
                expected[str(outer / "hop")] = "storage"
            assert skipped == expected
        assert [it.key async for it in Artifact.filter()] == ["sub/a.csv"]


async def test_storages_inside_a_storage_on_s3_are_left_out_of_its_walk(tmp_path: Path, s3_root: str) -> None:
    outer = S3Address.parse(s3_root)
    inner = str(outer.at(f"{outer.prefix}/sub/inner"))
    async with connect(tmp_path / "default", f"sqlite:///{tmp_path}/reg.db") as instance:
        store = instance.stores.at(s3_root)
        for key in ("a.csv", "sub/b.csv", "sub/inner/c.csv", "sub/inner/d/e.csv", "sub/inner2/f.csv"):
            await store.put_bytes(key.encode(), key, hash_bytes(key.encode()))
        for root in (s3_root, inner, inner.replace("/sub/inner", "/empty")):
            await Storage(root).save()
        stored = await Artifact(write(tmp_path / "v.csv", "v"), key="v.csv", storage=inner).save()
        bare = s3_root.partition("?")[0]
        folder = str(outer.at(f"{outer.prefix}/sub"))
        for count, address in ((3, s3_root), (2, folder)):
            made = await Artifact.from_dir(address).save()
            assert (len(made), made.failed) == (count, [])
            assert [(str(one.path), one.reason) for one in made.skipped] == [(f"{bare}/sub/inner", "storage")]
            report = await inhaul.ingest(address)
            assert (report.files, report.failed, len(report.skipped)) == (count, [], 1)
        keys = {it.key async for it in Artifact.filter(storage__root=s3_root)}
        assert keys == {"a.csv", "sub/b.csv", "sub/inner2/f.csv"}
        assert (await inhaul.ingest(inner)).files == 2
        for root in (s3_root, inner):
            storage = await Storage.filter(root=root).one()
            report = await storage.verify()
            assert report.ok, report.findings
            assert (await inhaul.gc(storage, older_than=timedelta(0), delete=True)).objects == []
        assert (await stored.cache()).read_text() == "v"

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact, Reason, Run, Status, Transform
from inhaul.errors import InvalidKey, KeyExists, NotStaged, ObjectChanged
from inhaul.ingestion import pipeline
from inhaul.ingestion.job import Job
from inhaul.ingestion.pipeline import Recorded
from inhaul.ingestion.scan import Batch, Root
from registries import artifacts, assert_consistent, assert_holds, digest, query
from trees import grow, write

FILES = 30

pytestmark = pytest.mark.usefixtures("no_power_fails")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture(params=["copied", "in place"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Path:
    """A folder outside the storage, and one inside it."""
    tree = tmp_path / "tree" if request.param == "copied" else root / "plates" / "tree"
    grow(tree, FILES)
    return tree


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


def modified(root: Path) -> dict[Path, int]:
    """Returns times of modification below a folder, without those of the registry and of the folders it is in."""
    own = (root / ".inhaul", root / ".inhaul" / "sessions")
    paths = (path for path in root.rglob("*") if path not in own and not path.name.startswith("registry.db"))
    return {path: path.stat().st_mtime_ns for path in paths}


def ordered(tree: Path) -> list[Path]:
    """Returns the regular files in byte order of their relative paths."""
    files = (path for path in tree.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(tree)))


# --- one ingest


async def test_every_file_gets_its_row(database_url: str, root: Path, tree: Path) -> None:
    async with inhaul.connect(root, database_url):
        artifacts = await Artifact.from_dir(tree).save()
    latest = await assert_holds(database_url, root, tree)
    in_place = tree.is_relative_to(root)
    assert [artifact.key for artifact in artifacts] == sorted(latest, key=os.fsencode)
    assert {bool(row["key_is_virtual"]) for row in latest.values()} == {not in_place}
    assert {row["object_key"] == key for key, row in latest.items()} == {in_place}
    assert {row["version"] for row in latest.values()} == {None}
    assert {row["verified_by"] for row in latest.values()} == {"local"}


async def test_names_of_every_kind_and_length_arrive_whole(database_url: str, root: Path, outside: Path) -> None:
    rng = random.Random(0)
    kinds = ["a0 ", " '\"%:?", "\t\n\x01\x7f", "äßÉ", "数据", "🧬🦠"]
    names = {"".join(rng.choices(rng.choice(kinds), k=rng.randrange(1, 60))) for _ in range(500)}
    names = {f"{name}{rng.choice(['', '.csv', '.h5ad', '.fastq.gz', '. ', '.é'])}" for name in names}
    for number, name in enumerate(sorted(names)):
        write(outside / name, f"{number}")
    async with inhaul.connect(root, database_url):
        first = await Artifact.from_dir(outside).save()
        assert not first.failed
        for name in names:
            write(outside / name, f"longer {name}")
        assert (await inhaul.ingest(outside)).counts[Status.NEW_VERSION] == len(names)
    rows = await query(database_url, "SELECT * FROM artifact WHERE is_latest")
    found = {row["key"]: (row["size"], row["hash"], row["hash_type"], row["version"]) for row in rows}
    assert found == {f"tree/{name}": (*digest(outside / name), "2") for name in names}
    for row in rows:
        assert row["object_key"].endswith(row["suffix"])
        assert (root / row["object_key"]).read_bytes() == (outside / row["key"].removeprefix("tree/")).read_bytes()
        assert row["accessor"] == {".csv": "DataFrame", ".h5ad": "AnnData"}.get(row["suffix"])
        assert row["verified_by"] == "local"


@pytest.mark.parametrize("names", [["one.csv"], [f"{number:03}.csv" for number in range(200)]], ids=["one", "many"])
async def test_what_all_files_share_is_in_each_row(
    database_url: str, root: Path, outside: Path, names: list[str]
) -> None:
    for name in names:
        write(outside / name, "the same")
    async with inhaul.connect(root, database_url):
        await inhaul.ingest(outside)
    rows = await query(database_url, "SELECT * FROM artifact ORDER BY key")
    assert [row["key"] for row in rows] == [f"tree/{name}" for name in names]
    shared = (".csv", "DataFrame", *digest(outside / names[0]), None, "local")
    columns = ("suffix", "accessor", "size", "hash", "hash_type", "version", "verified_by")
    assert {tuple(row[column] for column in columns) for row in rows} == {shared}


async def test_staging_writes_nothing_and_saving_then_stores_it(database_url: str, root: Path, tree: Path) -> None:
    async with inhaul.connect(root, database_url):
        staged = await Artifact.from_dir(tree)
        assert await artifacts(database_url) == []
        assert not (root / ".inhaul").exists()
        uids, hashes = [artifact.uid for artifact in staged], [artifact.hash for artifact in staged]
        saved = await staged.save()
    assert saved is staged
    latest = await assert_holds(database_url, root, tree)
    assert {row["uid"] for row in latest.values()} == set(uids)
    assert [artifact.hash for artifact in staged] == hashes
    assert all(latest[artifact.key or ""]["id"] == artifact.id for artifact in staged)


async def test_ingest_reports_what_it_did(database_url: str, root: Path, tree: Path) -> None:
    events: list[inhaul.IngestEvent] = []
    async with inhaul.connect(root, database_url):
        report = await inhaul.ingest(tree, on_event=events.append)
        again = await inhaul.ingest(tree)
    latest = await assert_holds(database_url, root, tree)
    size = sum(row["size"] for row in latest.values())
    assert (report.files, report.bytes) == (FILES, size)
    assert +report.counts == {Status.NEW: FILES}
    assert (report.failed, report.skipped) == ([], [])
    assert 0 < report.seconds < 60
    assert (events[-1].files, events[-1].bytes, events[-1].found, events[-1].walked) == (FILES, size, FILES, True)
    assert +again.counts == {Status.UNCHANGED: FILES}
    assert (again.files, again.bytes) == (FILES, size)


async def test_a_report_is_short_whatever_failed(root: Path, outside: Path) -> None:
    for name in ("fine", *(f"back\\slash{number}" for number in range(7))):
        (outside / name).write_text("x")
    os.mkfifo(outside / "pipe")
    async with inhaul.connect(root):
        title, *failed = repr(await inhaul.ingest(outside)).splitlines()
    assert re.fullmatch(r"IngestReport: 8 files, 1 bytes, \d+\.\d\d s: 1 new, 7 failed, 1 skipped", title)
    assert "back\\slash0: " in failed[0]
    assert failed[5:] == ["  ... 2 more failed"]


async def test_there_is_an_event_for_each_batch(root: Path) -> None:
    (root / "tree").mkdir()
    for number in range(9_000):
        (root / "tree" / str(number)).touch()
    events: list[inhaul.IngestEvent] = []
    async with inhaul.connect(root):
        await inhaul.ingest(root / "tree", on_event=events.append)
    assert len(events) > 1
    files = [event.files for event in events]
    assert files == sorted(files)
    assert files[-1] == 9_000
    assert all(event.files <= event.found for event in events)


async def test_an_unchanged_folder_writes_nothing(database_url: str, root: Path, tree: Path) -> None:
    async with inhaul.connect(root, database_url):
        await Artifact.from_dir(tree).save()
        await inhaul.ingest(tree)  # notes what is mounted there
        rows, files = await artifacts(database_url), modified(root)
        again = await Artifact.from_dir(tree).save()
        staged = await (await Artifact.from_dir(tree)).save()
        await inhaul.ingest(tree)
    assert await artifacts(database_url) == rows
    assert modified(root) == files
    uids = {row["key"]: row["uid"] for row in rows}
    for saved in (again, staged):
        assert {artifact.key: artifact.uid for artifact in saved} == uids
        assert {artifact.id for artifact in saved} == {row["id"] for row in rows}


# --- changed files


@pytest.mark.parametrize("way", ["from_dir", "staged", "ingest"])
async def test_changed_files_become_new_versions(database_url: str, root: Path, tree: Path, way: str) -> None:
    changed = ordered(tree)[::7]
    async with inhaul.connect(root, database_url):
        await inhaul.ingest(tree)
        before = await assert_holds(database_url, root, tree)
        for path in changed:
            path.write_bytes(b"other " + path.read_bytes())
        if way == "ingest":
            report = await inhaul.ingest(tree)
            assert +report.counts == {Status.UNCHANGED: FILES - len(changed), Status.NEW_VERSION: len(changed)}
        else:
            listed = Artifact.from_dir(tree)
            await (await listed if way == "staged" else listed).save()
        after = await assert_holds(database_url, root, tree)

    keys = {key for key in after if after[key] != before[key]}
    assert {Path(key).name for key in keys} == {path.name for path in changed}
    rows = {row["uid"]: row for row in await artifacts(database_url)}
    assert len(rows) == FILES + len(changed)
    for key in keys:
        old, new = rows[before[key]["uid"]], after[key]
        assert new["uid"][:16] == old["uid"][:16]
        assert (old["uid"][16:], new["uid"][16:]) == ("0000", "0001")
        assert (old["version"], new["version"]) == ("1", "2")
        assert (bool(old["is_latest"]), bool(new["is_latest"])) == (False, True)
        if tree.is_relative_to(root):
            assert (old["object_key"], new["object_key"]) == (None, key)
        else:
            assert old["object_key"] == before[key]["object_key"] != new["object_key"]


async def test_a_content_that_comes_back_is_a_third_version(database_url: str, root: Path, tree: Path) -> None:
    path = ordered(tree)[3]
    async with inhaul.connect(root, database_url):
        for content in (b"A", b"B", b"A"):
            path.write_bytes(content)
            artifacts = await Artifact.from_dir(tree).save()
        (latest,) = [artifact for artifact in artifacts if (artifact.key or "").endswith(path.name)]
        family = await latest.versions.all()
        assert [artifact.version for artifact in family] == ["1", "2", "3"]
        assert [artifact.is_latest for artifact in family] == [False, False, True]
        assert [artifact.uid[16:] for artifact in family] == ["0000", "0001", "0002"]
        assert family[0].hash == family[2].hash != family[1].hash
        assert (latest.uid, latest.version) == (family[2].uid, "3")
    await assert_holds(database_url, root, tree)


async def test_an_overwritten_version_cannot_be_loaded(root: Path) -> None:
    grow(root / "tree", 3)
    path = ordered(root / "tree")[0]
    async with inhaul.connect(root):
        first = (await Artifact.from_dir(root / "tree").save())[0]
        path.write_bytes(b"something else")
        await inhaul.ingest(root / "tree")
        old = await Artifact.get(first.uid)
        with pytest.raises(ObjectChanged):
            await old.cache()


async def test_a_file_whose_artifact_is_in_the_trash_is_reported(database_url: str, root: Path, outside: Path) -> None:
    grow(outside, 5)
    async with inhaul.connect(root, database_url):
        saved = await Artifact.from_dir(outside).save()
        await saved[2].delete()
        report = await inhaul.ingest(outside)
        assert [(issue.path, issue.reason) for issue in report.failed] == [(ordered(outside)[2], Reason.TRASHED)]
        assert isinstance(report.failed[0].error, KeyExists)
        assert +report.counts == {Status.UNCHANGED: 4}
        await saved[2].restore()
        assert +(await inhaul.ingest(outside)).counts == {Status.UNCHANGED: 5}


# --- which files, under which keys


@pytest.mark.parametrize("way", ["from_dir", "staged", "ingest"])
async def test_duplicates_can_be_dropped(database_url: str, root: Path, outside: Path, way: str) -> None:
    for name, content in {"a": "1", "b": "2", "c": "1", "d": "", "e": "", "sub/a": "2", "sub/z": "3"}.items():
        (outside / name).parent.mkdir(exist_ok=True)
        (outside / name).write_text(content)
    async with inhaul.connect(root, database_url):
        if way == "ingest":
            assert (await inhaul.ingest(outside, duplicates="drop")).files == 4
        else:
            listed = Artifact.from_dir(outside, duplicates="drop")
            await (await listed if way == "staged" else listed).save()
            assert len(listed) == 4
    assert set(await assert_consistent(database_url, root)) == {"tree/a", "tree/b", "tree/d", "tree/sub/z"}


async def test_excluded_and_ignored_files_stay_out(root: Path, outside: Path) -> None:
    for name in ("keep.csv", "a.tmp", "b.log", "sub/a.tmp", "sub/b.log", "sub/important.log", "cache/x", "sub/cache/y"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text(name)
    (outside / ".inhaulignore").write_text("*.log\n/cache/\n")
    (outside / "sub" / ".inhaulignore").write_text("!important.log\n")
    async with inhaul.connect(root):
        saved = await Artifact.from_dir(outside, exclude=["*.tmp"]).save()
    kept = [".inhaulignore", "keep.csv", "sub/.inhaulignore", "sub/cache/y", "sub/important.log"]
    assert [artifact.key for artifact in saved] == [f"tree/{name}" for name in kept]
    assert (saved.failed, saved.skipped) == ([], [])


@pytest.mark.parametrize(("key", "expected"), [(None, "tree/d00/x"), ("k", "k/d00/x"), ("a b/ü", "a b/ü/d00/x")])
async def test_the_key_precedes_the_relative_path(root: Path, outside: Path, key: str | None, expected: str) -> None:
    (outside / "d00").mkdir()
    (outside / "d00" / "x").write_text("x")
    async with inhaul.connect(root):
        (artifact,) = await Artifact.from_dir(outside, key).save()
        assert artifact.key == expected
        assert (await inhaul.ingest(outside, key)).counts[Status.UNCHANGED] == 1


async def test_a_folder_in_a_storage_has_its_own_key(root: Path) -> None:
    grow(root / "tree", 3)
    async with inhaul.connect(root):
        with pytest.raises(ValueError, match="'tree', not 'other'"):
            await Artifact.from_dir(root / "tree", key="other")
        with pytest.raises(ValueError, match="'tree', not 'other'"):
            await inhaul.ingest(root / "tree", key="other")
        assert (await inhaul.ingest(root / "tree", key="tree")).files == 3


async def test_a_hidden_folder_keeps_its_dot(root: Path) -> None:
    grow(root / ".lab" / "tree", 1)
    async with inhaul.connect(root):
        (artifact,) = await Artifact.from_dir(root / ".lab").save()
        assert (artifact.key or "").startswith(".lab/tree/")


async def test_the_root_of_a_storage_can_be_ingested(database_url: str, root: Path) -> None:
    grow(root, 20)
    async with inhaul.connect(root, database_url):
        assert (await inhaul.ingest(root)).files == 20
        assert +(await inhaul.ingest(root)).counts == {Status.UNCHANGED: 20}
    await assert_holds(database_url, root, root)


async def test_of_nested_storages_the_longest_counts(tmp_path: Path, root: Path) -> None:
    inner = root / "lab" / "inner"
    grow(inner / "tree", 4)
    async with inhaul.connect(root):
        await inhaul.Storage(inner).save()
        (*_, last) = saved = await Artifact.from_dir(inner / "tree").save()
        assert last.storage.root == str(inner)
        assert all((artifact.key or "").startswith("tree/") for artifact in saved)
        assert last.path == ordered(inner / "tree")[-1]
        beside = root / "lab" / "beside"
        grow(beside, 2)
        assert [a.storage.root for a in await Artifact.from_dir(beside).save()] == [str(root)] * 2
        again = await Artifact.from_dir(inner / "tree").save()
        assert list(again) == list(saved)


async def test_folders_of_inhaul_are_never_walked(root: Path, outside: Path) -> None:
    grow(outside, 3)
    (outside / "d00" / ".inhaul").mkdir()
    (outside / "d00" / ".inhaul" / "x").write_text("mine")
    async with inhaul.connect(root):
        assert (await inhaul.ingest(outside)).files == 3
        with pytest.raises(InvalidKey):
            await inhaul.ingest(root / ".inhaul")


@pytest.mark.parametrize("name", ["registry.db", "my [own]* registry.db"])
async def test_a_registry_in_the_folder_is_left_out(root: Path, outside: Path, name: str) -> None:
    (outside / "sub").mkdir()
    write(outside / "sub" / f"{name}.txt", b"not the registry")
    for status in ("new", "unchanged"):
        async with inhaul.connect(root, f"sqlite:///{outside}/sub/{name}"):
            report = await inhaul.ingest(outside)
            assert report.counts[Status(status)] == report.files == 1
            assert [one.key for one in await Artifact.filter().all()] == [f"tree/sub/{name}.txt"]


async def test_a_link_inside_the_folder_is_followed_when_asked(root: Path, outside: Path) -> None:
    (outside / "real").mkdir()
    (outside / "real" / "x.csv").write_text("x")
    (outside / "link").symlink_to("real")
    async with inhaul.connect(root):
        kept = await Artifact.from_dir(outside).save()
        assert [(issue.path.name, issue.reason) for issue in kept.skipped] == [("link", Reason.SYMLINK)]
        followed = await Artifact.from_dir(outside, follow_symlinks=True).save()
    assert [artifact.key for artifact in followed] == ["tree/link/x.csv", "tree/real/x.csv"]


# --- the list


async def test_a_list_that_is_not_staged_has_no_length(root: Path, outside: Path) -> None:
    grow(outside, 1)
    async with inhaul.connect(root):
        listed = Artifact.from_dir(outside)
        with pytest.raises(NotStaged, match="await"):
            len(listed)
        assert "not staged" in repr(listed)


async def test_a_list_is_a_sequence_in_the_order_of_paths(root: Path, outside: Path) -> None:
    grow(outside, 12)
    paths = ordered(outside)
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(outside)
        assert len(listed) == 12
        assert [artifact.path for artifact in listed] == paths
        assert listed[0].path == paths[0]
        assert listed[-1].path == paths[-1]
        assert [artifact.path for artifact in listed[2:9:3]] == paths[2:9:3]
        assert [artifact.path for artifact in listed[::-1]] == paths[::-1]
        for index in (12, -13):
            with pytest.raises(IndexError):
                listed[index]
        await listed.save()
        assert listed[-1].path.read_bytes() == paths[-1].read_bytes()


async def test_a_list_has_one_record_of_each_artifact(root: Path, outside: Path) -> None:
    grow(outside, 12)
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(outside)
        assert listed[3] is listed[3] is listed[3:4][0] is list(listed)[3]
        assert listed[3] in listed
        assert listed.index(listed[3]) == 3


async def test_a_list_shows_its_first_artifacts_and_counts_the_others(root: Path, outside: Path) -> None:
    grow(outside, 12)
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(outside)
        assert repr(listed).splitlines()[0].startswith("ArtifactList: 12 artifacts staged")
        await listed.save()
    assert repr(listed).splitlines()[0].startswith("ArtifactList: 12 artifacts saved")
    assert listed[0].key in repr(listed)
    assert "7 more" in repr(listed)


async def test_a_list_is_a_table_of_its_artifacts(root: Path, outside: Path) -> None:
    grow(outside, 5)
    async with inhaul.connect(root):
        saved = await Artifact.from_dir(outside).save()
        table = await saved.df()
    assert list(table["key"]) == [artifact.key for artifact in saved]
    assert list(table["uid"]) == [artifact.uid for artifact in saved]
    assert list(table["size"]) == [path.stat().st_size for path in ordered(outside)]
    assert set(table["status"]) == {"new"}


@pytest.mark.parametrize("unchanged", [False, True])
async def test_edits_are_saved_with_the_list(database_url: str, root: Path, tree: Path, unchanged: bool) -> None:
    async with inhaul.connect(root, database_url):
        if unchanged:
            await inhaul.ingest(tree)
        listed = await Artifact.from_dir(tree)
        listed[1].description = "first plate"
        listed[-1].visibility = inhaul.Visibility.hidden
        key = listed[1].key
        await listed.save()
        assert listed[1].description == "first plate"
        assert (await Artifact.filter(key=key).one()).description == "first plate"
        assert (await Artifact.filter(visibility=1).one()).key == listed[-1].key
        listed[1].description = "second plate"
        await listed.save()
        assert (await Artifact.filter(key=key).one()).description == "second plate"
    await assert_holds(database_url, root, tree)


@pytest.mark.parametrize("changed", [False, True])
async def test_an_item_saved_alone_stays_itself(database_url: str, root: Path, tree: Path, changed: bool) -> None:
    async with inhaul.connect(root, database_url):
        if changed:
            await inhaul.ingest(tree)
            for path in ordered(tree):
                path.write_bytes(b"now " + path.read_bytes())
        listed = await Artifact.from_dir(tree)
        alone = listed[4]
        assert await alone.save() is alone
        (row,) = [row for row in await artifacts(database_url) if row["uid"] == alone.uid]
        assert (row["key"], row["id"]) == (alone.key, alone.id)
        await listed.save()
        assert listed[4] is alone
        assert alone.id == row["id"]
        assert alone.version == ("2" if changed else None)
    latest = await assert_holds(database_url, root, tree)
    assert latest[alone.key or ""]["uid"] == row["uid"]
    assert {artifact.key: artifact.uid for artifact in listed} == {key: latest[key]["uid"] for key in latest}


async def test_the_last_rows_are_written_in_smaller_groups(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write_group = pipeline._write

    async def counted(job: Job, held: Root | None, group: Sequence[Batch]) -> list[Recorded]:
        groups.append(sum(map(len, group)))
        return await write_group(job, held, group)

    monkeypatch.setattr(pipeline, "_write", counted)
    grow(outside, 20_000)
    async with inhaul.connect(root):
        staged = await Artifact.from_dir(outside)
        await staged.save()
        assert await Artifact.filter().count() == sum(groups) == 20_000
    assert max(groups) < pipeline.ROWS_PER_GROUP


async def test_saving_a_list_twice_writes_once(database_url: str, root: Path, tree: Path) -> None:
    async with inhaul.connect(root, database_url):
        saved = await Artifact.from_dir(tree).save()
        rows = await artifacts(database_url)
        assert await saved.save() is saved
    assert await artifacts(database_url) == rows


async def test_items_know_what_they_refer_to_without_asking(root: Path, outside: Path) -> None:
    grow(outside, 3)
    async with inhaul.connect(root):
        run = await Run(Transform("demo")).save()
        saved = await Artifact.from_dir(outside, run=run).save()
        assert saved[0].storage.root == str(root)
        assert saved[0].created_by.handle == inhaul.settings.user
        assert saved[0].run == run
        assert saved[0].transform is not None
        assert saved[0].transform.name == "demo"


async def test_items_that_another_run_made_know_it(root: Path, outside: Path) -> None:
    grow(outside, 3)
    async with inhaul.connect(root):
        first, second = [await Run(Transform(name)).save() for name in ("first", "second")]
        await Artifact.from_dir(outside, run=first).save()
        (outside / "zz.txt").write_text("new")
        staged = await Artifact.from_dir(outside, run=second)
        assert [one.run for one in staged] == [first] * 3 + [second]
        saved = await staged.save()
        assert [one.run for one in saved] == [first] * 3 + [second]
        assert {one.created_by.handle for one in saved} == {inhaul.settings.user}


async def test_failures_can_be_raised_after_the_rest_is_saved(root: Path, outside: Path) -> None:
    grow(outside, 5)
    (outside / "back\\slash").write_text("x")
    async with inhaul.connect(root):
        listed = await Artifact.from_dir(outside, errors="raise")
        assert [issue.reason for issue in listed.failed] == [Reason.INVALID_KEY]
        with pytest.raises(ExceptionGroup) as caught:
            await listed.save()
        assert [type(error) for error in caught.value.exceptions] == [InvalidKey]
        assert await Artifact.filter().count() == 5
        with pytest.raises(ExceptionGroup):
            await inhaul.ingest(outside, errors="raise")
        assert len((await inhaul.ingest(outside)).failed) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": "../up"}, InvalidKey),
        ({"key": "/abs"}, InvalidKey),
        ({"duplicates": "some"}, ValueError),
        ({"errors": "ignore"}, ValueError),
        ({"exclude": "*.tmp"}, TypeError),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(outside: Path, arguments: dict[str, str], error: type) -> None:
    with pytest.raises(error):
        Artifact.from_dir(outside, **arguments)


# --- runs


@pytest.mark.parametrize("way", ["from_dir", "staged", "ingest"])
async def test_a_run_that_meets_artifacts_again_is_a_previous_run(
    database_url: str, root: Path, tree: Path, way: str
) -> None:
    async with inhaul.connect(root, database_url):
        creator = await Run(Transform("first")).save()
        await inhaul.ingest(tree, run=creator)
        rows = await artifacts(database_url)
        assert {row["run_id"] for row in rows} == {creator.id}

        later = Run(Transform("second"))
        for run in (creator, later, later):
            if way == "ingest":
                await inhaul.ingest(tree, run=run)
            else:
                listed = Artifact.from_dir(tree, run=run)
                await (await listed if way == "staged" else listed).save()
        assert await artifacts(database_url) == rows
        links = await query(database_url, "SELECT artifact_id, run_id FROM artifact_previous_run")
        assert sorted((link["artifact_id"], link["run_id"]) for link in links) == [
            (row["id"], later.id) for row in rows
        ]
        some = await Artifact.get(rows[0]["uid"])
        assert await some.previous_runs.all() == [later]
        assert some.run == creator

"""One artifact: staging, saving, versions, loading, deleting."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, Run, Storage, Transform, User, Visibility
from inhaul.errors import InvalidKey, KeyExists, NotStaged, ObjectChanged, ObjectMissing
from scans import md5
from trees import write


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return write(tmp_path / "table.csv", "a,b\n1,2\n")


@pytest.fixture
def inside(instance: inhaul.Instance) -> Path:
    """A file of the user in the storage."""
    return write(Path(instance.root) / "plates" / "p1.csv", "a\n1\n")


async def test_a_saved_file_has_every_field(
    instance: inhaul.Instance, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inhaul.settings, "user", "ada")
    run = Run(Transform("import", type="function"), params={"depth": 3})
    artifact = await Artifact(csv, key="in/table.csv", description="a table", run=run).save()

    assert len(artifact.uid) == 20
    assert artifact.uid == artifact.stem_uid + "0000"
    assert (artifact.version, artifact.is_latest) == (None, True)
    assert artifact.storage == await Storage.filter(root=instance.root).one()
    assert (artifact.key, artifact.key_is_virtual) == ("in/table.csv", True)
    assert artifact.object_key == f".inhaul/{artifact.uid[15]}/{artifact.uid}.csv"
    assert artifact.path == Path(instance.root) / artifact.object_key
    assert (artifact.suffix, artifact.accessor) == (".csv", "DataFrame")
    assert (artifact.size, artifact.hash, artifact.hash_type) == (8, md5(csv.read_bytes()), "md5")
    assert artifact.verified_by == "local"
    assert (artifact.n_objects, artifact.n_observations) == (None, None)
    assert artifact.description == "a table"
    assert datetime.now(UTC) - artifact.created_at < timedelta(minutes=1)
    assert artifact.updated_at == artifact.created_at
    assert artifact.created_by == await User.filter(handle="ada").one()
    assert artifact.run == run
    assert artifact.transform == run.transform
    assert artifact.transform.type == "function"
    assert artifact.visibility is Visibility.default
    assert artifact.path.read_bytes() == csv.read_bytes()

    again = await Artifact.get(artifact.uid)
    assert again == artifact
    assert again.run.params == {"depth": 3}
    assert again.created_at == artifact.created_at


async def test_nothing_is_known_or_written_before_it_is_staged(instance: inhaul.Instance, csv: Path) -> None:
    artifact = Artifact(csv, key="table.csv")
    for field in ("uid", "hash", "size", "object_key", "created_at", "stem_uid", "suffix"):
        with pytest.raises(NotStaged, match=field.removeprefix("stem_")):
            getattr(artifact, field)
    assert artifact.key == "table.csv"
    assert artifact.path == csv

    assert await artifact is artifact
    assert artifact.hash == md5(csv.read_bytes())
    assert artifact.path == csv
    assert not Path(instance.root).exists()
    assert await Artifact.filter().count() == 0


async def test_fields_are_read_only_but_for_a_few(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    for field in ("uid", "hash", "size", "storage", "run", "created_by", "object_key", "id"):
        with pytest.raises(AttributeError, match=f"{field} of Artifact is read-only"):
            setattr(artifact, field, None)


async def test_the_fields_that_may_be_set_are_saved(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    artifact.description, artifact.key, artifact.version = "renamed", "other/table.csv", "1.0"
    artifact.visibility = Visibility.hidden
    await artifact.save()
    again = await Artifact.get(artifact.uid)
    assert (again.description, again.key, again.version) == ("renamed", "other/table.csv", "1.0")
    assert again.visibility is Visibility.hidden
    assert again.updated_at > again.created_at


async def test_a_save_without_a_change_writes_nothing(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    artifact.description = "changed"
    await artifact.save()
    before = (await Artifact.get(artifact.uid)).updated_at
    await artifact.save()
    assert (await Artifact.get(artifact.uid)).updated_at == before


async def test_a_key_ends_in_the_suffix_of_what_it_names(instance: inhaul.Instance, csv: Path) -> None:
    with pytest.raises(ValueError, match=r"'table.parquet' should end in '.csv'"):
        await Artifact(csv, key="table.parquet")
    artifact = await Artifact(csv, key="TABLE.CSV").save()
    with pytest.raises(ValueError, match="should end"):
        artifact.key = "table"
    assert await Artifact.filter().count() == 1


async def test_a_key_that_leads_out_is_refused_when_it_is_given_and_when_it_is_set(
    instance: inhaul.Instance, csv: Path
) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    for key in ("/table.csv", "../table.csv", "a/../table.csv", "a//table.csv", "a\\table.csv", ".inhaul/table.csv"):
        with pytest.raises(InvalidKey):
            Artifact(csv, key=key)
        with pytest.raises(InvalidKey):
            artifact.key = key
    assert artifact.key == "table.csv"
    assert await Artifact.filter().count() == 1


def other_csv(csv: Path) -> Path:
    other = csv.with_name("b.csv")
    other.write_text("b\n1\n")
    return other


async def test_a_key_can_be_changed_but_not_be_taken_away(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    for given in (artifact, await Artifact.get(artifact.uid), await Artifact(csv, key="table.csv")):
        with pytest.raises(ValueError, match=r"'table.csv' can be changed, but not removed"):
            given.key = None
        assert given.key == "table.csv"
    artifact.key = "other.csv"
    await artifact.save()
    assert (await Artifact.get(artifact.uid)).key == "other.csv"
    nameless = await Artifact(other_csv(csv), description="no key").save()
    nameless.key = None
    await nameless.save()
    assert (await Artifact.get(nameless.uid)).key is None


async def test_a_key_that_is_set_before_staging_counts(instance: inhaul.Instance, csv: Path) -> None:
    artifact = Artifact(csv, key="table.csv", description="a table")
    artifact.key = "other.csv"
    assert (await artifact.save()).key == (await Artifact.get(artifact.uid)).key == "other.csv"
    nameless = Artifact(other_csv(csv), key="x.csv", description="no key")
    nameless.key = None
    assert (await nameless.save()).key is None


async def test_an_artifact_needs_a_key_a_run_or_a_description(instance: inhaul.Instance, csv: Path) -> None:
    with pytest.raises(ValueError, match="Pass one of key, run or description as a parameter"):
        await Artifact(csv)


async def test_arguments_that_no_artifact_can_be_made_of_are_refused(instance: inhaul.Instance, csv: Path) -> None:
    with pytest.raises(TypeError, match="not from dict"):
        Artifact({"a": 1}, key="x.json")
    with pytest.raises(TypeError):
        Artifact(csv, key="table.csv", colour="red")
    with pytest.raises(FileNotFoundError):
        await Artifact(csv.with_name("none.csv"), key="none.csv")
    with pytest.raises(ValueError, match="on_duplicate"):
        Artifact(csv, key="table.csv", on_duplicate="maybe")


async def test_same_content_under_the_same_key_is_the_same_artifact(instance: inhaul.Instance, csv: Path) -> None:
    first = await Artifact(csv, key="table.csv", description="one").save()
    again = await Artifact(csv, key="table.csv", description="two")
    assert again == first
    assert again.id == first.id
    await again.save()
    assert (await Artifact.get(first.uid)).description == "two"
    assert await Artifact.filter().count() == 1


async def test_known_content_is_an_error_or_another_version_on_demand(instance: inhaul.Instance, csv: Path) -> None:
    first = await Artifact(csv, key="table.csv").save()
    with pytest.raises(KeyExists, match=first.uid):
        await Artifact(csv, key="table.csv", on_duplicate="error")
    created = await Artifact(csv, key="table.csv", on_duplicate="create").save()
    assert created.stem_uid == first.stem_uid
    assert created.version == "2"


async def test_content_alone_decides_only_without_a_key(instance: inhaul.Instance, csv: Path) -> None:
    first = await Artifact(csv, key="table.csv").save()
    assert await Artifact(csv, description="found by content") == first
    assert (await Artifact(csv, key="other.csv").save()).stem_uid != first.stem_uid


async def test_empty_files_are_not_the_same_by_their_content(instance: inhaul.Instance, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    one = await Artifact(empty, description="an empty file").save()
    two = await Artifact(empty, description="another").save()
    assert one != two


async def test_other_content_under_a_known_key_is_a_new_version(instance: inhaul.Instance, csv: Path) -> None:
    a = await Artifact(csv, key="table.csv").save()
    csv.write_text("a,b\n3,4\n")
    b = await Artifact(csv, key="table.csv").save()
    csv.write_text("a,b\n1,2\n")
    c = await Artifact(csv, key="table.csv").save()

    family = await c.versions.all()
    assert [v.uid for v in family] == [a.stem_uid + part for part in ("0000", "0001", "0002")]
    assert [v.version for v in family] == ["1", "2", "3"]
    assert [v.is_latest for v in family] == [False, False, True]
    assert [(await v.load())["a"][0] for v in family] == [1, 3, 1]
    assert b.version == "2"


async def test_a_family_of_words_needs_to_be_told_its_next_version(instance: inhaul.Instance, csv: Path) -> None:
    first = await Artifact(csv, key="table.csv").save()
    first.version = "draft"
    await first.save()
    csv.write_text("changed")
    with pytest.raises(ValueError, match="pass version="):
        await Artifact(csv, key="table.csv")


async def test_a_file_in_the_storage_is_registered_where_it_lies(inside: Path) -> None:
    artifact = await Artifact(inside).save()
    assert (artifact.key, artifact.object_key, artifact.key_is_virtual) == ("plates/p1.csv", "plates/p1.csv", False)
    assert artifact.path == inside


async def test_a_file_in_the_storage_can_have_no_other_key_than_its_path(inside: Path) -> None:
    artifact = await Artifact(inside).save()
    with pytest.raises(ValueError, match=r"'plates/p1.csv', not 'q.csv'"):
        await Artifact(inside, key="q.csv")
    with pytest.raises(AttributeError, match="the key cannot be changed"):
        artifact.key = "q.csv"


async def test_a_file_in_the_storage_that_was_overwritten_is_only_its_latest_version(inside: Path) -> None:
    artifact = await Artifact(inside).save()
    inside.write_text("a\n2\n")
    newer = await Artifact(inside).save()
    assert newer.version == "2"
    older = await Artifact.get(artifact.uid)
    assert older.object_key is None
    with pytest.raises(ObjectChanged, match=older.uid):
        await older.load()


async def test_a_path_below_the_own_folder_is_that_of_an_artifact_or_refused(
    instance: inhaul.Instance, csv: Path
) -> None:
    stored = await Artifact(csv, key="table.csv").save()
    assert await Artifact(stored.path) == stored
    stray = write(stored.path.with_name("0" * 20), "x")
    with pytest.raises(InvalidKey, match="belongs to no artifact"):
        await Artifact(stray)


async def test_a_real_key_is_the_place_of_the_object(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="shared/table.csv", key_is_virtual=False).save()
    assert artifact.path == Path(instance.root) / "shared/table.csv"
    assert not artifact.key_is_virtual
    csv.write_text("other")
    with pytest.raises(KeyExists):
        await Artifact(csv, key="shared/table.csv", key_is_virtual=False)
    assert artifact.path.read_text() == "a,b\n1,2\n"
    assert sorted(path.name for path in (Path(instance.root) / "shared").iterdir()) == ["table.csv"]


async def test_a_table_in_memory_is_stored_as_parquet(instance: inhaul.Instance) -> None:
    table = pd.DataFrame({"gene": ["a", "b"], "count": [1, 2]})
    artifact = Artifact(table, key="counts.parquet")
    await artifact
    with pytest.raises(ValueError, match="created from memory"):
        _ = artifact.path
    await artifact.save()
    assert (artifact.suffix, artifact.accessor, artifact.n_observations) == (".parquet", "DataFrame", 2)
    pd.testing.assert_frame_equal(await artifact.load(), table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "images" / "deep" / "a.txt", "1")
    write(tmp_path / "images" / "b.txt", "22")
    return tmp_path / "images"


async def test_a_folder_can_be_one_artifact_of_its_regular_files(instance: inhaul.Instance, folder: Path) -> None:
    (folder / "link").symlink_to("b.txt")
    os.mkfifo(folder / "pipe")
    artifact = await Artifact(folder, key="images").save()
    record = b"b.txt\x002\x00%s\ndeep/a.txt\x001\x00%s\n" % (md5(b"22").encode(), md5(b"1").encode())
    assert (artifact.hash, artifact.hash_type) == (md5(record), "md5-tree")
    assert (artifact.n_objects, artifact.size) == (2, 3)
    assert sorted(path.name for path in artifact.path.rglob("*")) == ["a.txt", "b.txt", "deep"]
    assert await artifact.load() == artifact.path
    assert await Artifact(artifact.path / "b.txt") == artifact


async def test_a_renamed_file_makes_a_new_version_of_its_folder(instance: inhaul.Instance, folder: Path) -> None:
    await Artifact(folder, key="images").save()
    (folder / "b.txt").rename(folder / "c.txt")
    assert (await Artifact(folder, key="images").save()).version == "2"


async def test_a_folder_without_files_is_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="without files"):
        await Artifact(tmp_path / "none", key="none")


async def test_a_missing_object_is_named_and_stored_again(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    artifact.path.unlink()
    with pytest.raises(ObjectMissing, match=artifact.uid):
        await artifact.load()
    await Artifact(csv, key="table.csv").save()
    assert artifact.path.read_bytes() == csv.read_bytes()


async def test_a_file_that_changed_since_it_was_staged_is_not_saved(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv")
    stat = csv.stat()
    csv.write_text("a,b\n1,9\n")
    os.utime(csv, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(inhaul.errors.FileChanged):
        await artifact.save()
    assert await Artifact.filter().count() == 0
    assert [path for path in Path(instance.root).rglob("*") if path.is_file() and path.suffix == ".csv"] == []


async def test_what_is_in_the_trash_is_hidden_until_it_is_restored(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    await artifact.delete()
    assert artifact.visibility is Visibility.trash
    assert await Artifact.filter(key="table.csv").count() == 0
    assert await Artifact.filter(key="table.csv", visibility=None).count() == 1
    with pytest.raises(FileExistsError, match="restore"):
        await Artifact(csv, key="table.csv")
    await artifact.restore()
    assert await Artifact.filter(key="table.csv").one() == artifact


async def test_deleting_what_is_in_the_trash_is_for_good(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    await artifact.delete()
    assert artifact.path.exists()
    await artifact.delete()
    assert not artifact.path.exists()
    assert await Artifact.filter(visibility=None).count() == 0


async def test_a_wrong_delete_deletes_nothing(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    with pytest.raises(ValueError, match="not saved"):
        await Artifact(csv, key="other.csv").delete()
    with pytest.raises(ValueError, match="using_key"):
        await artifact.delete(using_key="x")
    assert (await Artifact.get(artifact.uid)).visibility is Visibility.default


def taken_by(other: Artifact) -> str:
    return rf"artifact {other.uid} has the key 'table\.csv'\. Delete that one, or change the key of one of them"


async def test_restoring_where_the_key_is_taken_is_refused(instance: inhaul.Instance, csv: Path) -> None:
    artifact = await Artifact(csv, key="table.csv").save()
    await artifact.delete()
    csv.write_text("other")
    other = await Artifact(csv, key="table.csv").save()
    taken = taken_by(other)
    with pytest.raises(KeyExists, match=f"Artifact {artifact.uid} cannot be restored: {taken}"):
        await artifact.restore()
    again = await Artifact.get(artifact.uid)
    again.visibility = Visibility.hidden
    with pytest.raises(KeyExists, match=f"Artifact {artifact.uid} cannot be restored: {taken}"):
        await again.save()
    other.key = "moved.csv"
    await other.save()
    await artifact.restore()
    assert [one.uid for one in await Artifact.filter(key="table.csv").all()] == [artifact.uid]


async def test_renaming_to_a_key_that_is_taken_is_refused(instance: inhaul.Instance, csv: Path) -> None:
    other = await Artifact(csv, key="table.csv").save()
    artifact = await Artifact(csv, key="third.csv").save()
    artifact.key = "table.csv"
    with pytest.raises(KeyExists, match=f"Artifact {artifact.uid} cannot be renamed: {taken_by(other)}"):
        await artifact.save()
    assert (await Artifact.get(artifact.uid)).key == "third.csv"


async def test_deleting_the_latest_makes_the_one_before_it_the_latest(instance: inhaul.Instance, csv: Path) -> None:
    first = await Artifact(csv, key="table.csv").save()
    csv.write_text("other")
    second = await Artifact(csv, key="table.csv").save()
    await second.delete(permanent=True)
    assert (await Artifact.get(first.uid)).is_latest


@pytest.mark.parametrize(("storage", "kept"), [(None, True), (False, True), (True, False)])
async def test_a_users_own_file_goes_only_on_request(
    instance: inhaul.Instance, storage: bool | None, kept: bool
) -> None:
    Path(instance.root).mkdir()
    own = Path(instance.root) / "own.txt"
    own.write_text("mine")
    artifact = await Artifact(own).save()
    await artifact.delete(permanent=True, storage=storage)
    assert own.exists() is kept
    assert await Artifact.filter(visibility=None).count() == 0


async def test_runs_that_meet_an_artifact_again_are_its_previous_runs(instance: inhaul.Instance, csv: Path) -> None:
    first, second = Run(Transform("one")), Run(Transform("two"))
    artifact = await Artifact(csv, key="table.csv", run=first).save()
    await Artifact(csv, key="table.csv", run=second).save()
    await Artifact(csv, key="table.csv", run=first).save()
    assert artifact.run == first
    assert await artifact.previous_runs.all() == [second]
    await artifact.previous_runs.remove(second)
    assert await artifact.previous_runs.all() == []


async def test_runs_that_use_an_artifact_are_added_to_it(instance: inhaul.Instance, csv: Path) -> None:
    first, second = await Run(Transform("one")).save(), await Run(Transform("two")).save()
    artifact = await Artifact(csv, key="table.csv", run=first).save()
    await artifact.input_of.add(second, first)
    await artifact.input_of.add(first)
    assert await artifact.input_of.filter(transform__name="two").one() == second
    assert len(await artifact.input_of.df()) == 2


async def test_an_old_record_of_a_key_loses_a_race_cleanly(
    instance: inhaul.Instance, csv: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("z\n9\n")
    late = await Artifact(other, key="table.csv")
    same = await Artifact(csv, key="table.csv")
    winner = await Artifact(csv, key="table.csv").save()
    assert (await same.save()) == winner
    await late.save()
    assert (late.stem_uid, late.version) == (winner.stem_uid, "2")
    objects = {path.name for path in (Path(instance.root) / ".inhaul").glob("?/*")}
    assert objects == {winner.path.name, late.path.name}


async def test_reprs_do_no_io(instance: inhaul.Instance, csv: Path) -> None:
    artifact = Artifact(csv, key="table.csv")
    assert repr(artifact) == "Artifact(key='table.csv', not staged)"
    await artifact.save()
    assert artifact.uid in repr(artifact)


async def test_a_record_from_before_its_file_was_overwritten_gives_no_other_content(tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path):
        (tmp_path / "x.txt").write_text("first")
        first = await Artifact(tmp_path / "x.txt").save()
        (tmp_path / "x.txt").write_text("other")
        await Artifact(tmp_path / "x.txt").save()
        with pytest.raises(ObjectChanged):
            await first.load()


async def test_artifacts_saved_at_once_share_a_new_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = Run(Transform("import", type="pipeline"))
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(str(number))
    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(Artifact(tmp_path / f"{number}.txt", key=f"{number}.txt", run=run).save())
    assert await run.outputs.count() == 8
    assert await Run.filter().count() == 1


async def test_another_key_for_an_object_of_the_registry_names_both_keys(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a")
    async with inhaul.connect(tmp_path / "storage"):
        for key in ("a.csv", None):
            it = await Artifact(tmp_path / "x.csv", key=key, description="x", on_duplicate="create").save()
            with pytest.raises(ValueError, match=rf"artifact {it.uid}, whose key is {key!r}, not 'b.csv'"):
                await Artifact(it.path, key="b.csv").save()
            if key is not None:
                assert await Artifact(it.path, key=key).save() == it
            assert await Artifact(it.path).save() == it
        assert await Artifact.objects.count() == 2


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files in folders named as the own folder of inhaul, and one outside."""
    for name in ("a/.inhaul/b.csv", "b/.inhaul", "c.csv"):
        write(tmp_path / "tree" / name, name)
    return tmp_path / "tree"


@pytest.mark.parametrize("is_virtual", [True, False])
async def test_a_key_with_a_segment_of_inhaul_is_refused(
    instance: inhaul.Instance, csv: Path, is_virtual: bool
) -> None:
    with pytest.raises(InvalidKey, match="own folder"):
        Artifact(csv, key="a/.inhaul/b.csv", key_is_virtual=is_virtual)


async def test_a_file_with_a_segment_of_inhaul_is_left_out_of_a_list(tree: Path, tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path / "storage"):
        listed = await Artifact.from_dir(tree).save()
        assert [artifact.key for artifact in listed] == ["tree/c.csv"]
        assert [(str(issue.path), issue.reason) for issue in listed.failed] == [
            (str(tree / "b" / ".inhaul"), "invalid_key")
        ]


async def test_a_file_with_a_segment_of_inhaul_is_refused_in_a_storage(tree: Path, tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path / "storage"):
        await Storage(tree).save()
        for name in ("a/.inhaul/b.csv", "b/.inhaul"):
            with pytest.raises(InvalidKey, match="own folder"):
                await Artifact(tree / name).save()

"""Collections: ordered, versioned, loaded as one, mapped."""

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix

import inhaul
from inhaul import Artifact, Collection, Transform
from inhaul.errors import InUse, NoResultFound, ObjectMissing
from inhaul.formats.mapped import MappedCollection


async def tables(count: int = 3) -> list[Artifact]:
    return [
        await Artifact(pd.DataFrame({"n": [n, n], f"c{n}": [0.5, 1.5]}), key=f"t{n}.parquet").save()
        for n in range(count)
    ]


async def test_members_keep_their_order(instance: inhaul.Instance) -> None:
    members = await tables()
    backwards = await Collection(members[::-1], "all").save()
    assert await backwards.artifacts.all() == members[::-1]
    assert list((await backwards.artifacts.df())["key"]) == [artifact.key for artifact in members[::-1]]
    assert await Collection.filter(artifacts__key="t1.parquet").one() == backwards


async def test_the_same_members_in_the_same_order_are_the_same_collection(instance: inhaul.Instance) -> None:
    members = await tables()
    first = await Collection(members, "all", description="three tables").save()
    assert (first.version, first.is_latest) == (None, True)
    again = await Collection(members, "all").save()
    assert again == first
    assert (again.id, again.description) == (first.id, "three tables")


async def test_the_same_members_in_another_order_make_a_new_version(instance: inhaul.Instance) -> None:
    members = await tables()
    backwards = await Collection(members[::-1], "all").save()
    forwards = await Collection(members, "all").save()
    assert forwards.hash != backwards.hash
    assert forwards.stem_uid == backwards.stem_uid
    assert forwards.version == "2"
    first = await Collection.get(backwards.uid)
    assert (first.version, first.is_latest) == ("1", False)
    assert await forwards.versions.all() == [backwards, forwards]
    assert await Collection.filter(name="all", is_latest=True).one() == forwards


async def test_members_are_neither_added_nor_removed(instance: inhaul.Instance) -> None:
    members = await tables()
    collection = await Collection(members[:2], "all").save()
    with pytest.raises(TypeError, match="another version"):
        await collection.artifacts.add(members[2])
    with pytest.raises(TypeError, match="another version"):
        await collection.artifacts.remove(members[0])
    assert await collection.artifacts.all() == members[:2]


async def test_equal_content_is_not_the_same_members(instance: inhaul.Instance) -> None:
    table = pd.DataFrame({"n": [1]})
    one, other = [await Artifact(table, key=f"{name}.parquet").save() for name in ("one", "other")]
    first = await Collection([one], "all").save()
    second = await Collection([other], "all").save()
    assert (second.stem_uid, second.version) == (first.stem_uid, "2")
    assert await second.artifacts.all() == [other]
    assert await Collection([other], "all").save() == second


async def test_a_version_is_used_once(instance: inhaul.Instance) -> None:
    members = await tables()
    first, second = [await Collection([member], "all").save() for member in members[:2]]
    second.version = "1"
    with pytest.raises(ValueError, match=f"Collection {first.uid} of the same family has version"):
        await second.save()
    second.version = "two"
    await second.save()
    third = Collection(members[2:], "all")
    third.version = "two"
    with pytest.raises(ValueError, match=f"Collection {second.uid} of the same family has version"):
        await third.save()
    third.version = "three"
    await third.save()
    assert [one.version for one in await third.versions.all()] == ["1", "two", "three"]


async def test_a_first_version_without_a_name_counts_as_1(instance: inhaul.Instance) -> None:
    members = await tables()
    first = await Collection(members[:1], "all").save()
    second = Collection(members[1:], "all")
    second.version = "1"
    with pytest.raises(ValueError, match=f"Collection {first.uid} of the same family has version '1'"):
        await second.save()
    assert await first.versions.all() == [first]
    assert (await Collection.get(first.uid)).version is None


async def test_eight_writers_make_one_chain(instance: inhaul.Instance) -> None:
    members = await tables(8)
    await asyncio.gather(*(Collection([member], "raced").save() for member in members[:4]))
    rows = await Collection.filter(name="raced").all()
    assert len({row.stem_uid for row in rows}) == 1
    assert sorted(row.version for row in rows) == ["1", "2", "3", "4"]
    assert [row.is_latest for row in rows].count(True) == 1


async def test_bad_collections_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    (member,) = await tables(1)
    for artifacts, message in (
        ([Artifact(tmp_path, key="x")], "not saved.*save it first"),
        ([member, member], "twice"),
        ([], "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            Collection(artifacts, "bad")
    with pytest.raises(ValueError, match="name=''"):
        Collection([member], "")
    with pytest.raises(ValueError, match="not saved: save it"):
        await Collection([member], "new").cache()
    assert await Collection.objects.count() == 0


async def test_members_whose_objects_are_gone_are_one_error(instance: inhaul.Instance) -> None:
    members = await tables(3)
    collection = await Collection(members, "all").save()
    for member in members:
        Path(str(member.path)).unlink()
    for call in (collection.cache, collection.load):
        with pytest.raises(ObjectMissing) as raised:
            await call()
        assert any(member.uid in str(raised.value) for member in members)


async def test_a_deleted_artifact_cannot_be_a_member(instance: inhaul.Instance) -> None:
    there, gone = await tables(2)
    collection = Collection([there, gone], "all")
    await (await Artifact.get(gone.uid)).delete(permanent=True)
    with pytest.raises(NoResultFound, match=f"{gone.uid}.*has been deleted"):
        await collection.save()
    assert await Collection.objects.count() == 0
    assert await Collection([there], "all").save()


async def test_members_cannot_be_deleted(instance: inhaul.Instance) -> None:
    members = await tables(2)
    await Collection(members[:1], "all").save()
    for permanent in (None, True):
        with pytest.raises(InUse, match="'all'"):
            await members[0].delete(permanent=permanent)
    members[0].visibility = inhaul.Visibility.trash
    with pytest.raises(InUse, match="'all'"):
        await members[0].save()
    assert (await Artifact.get(members[0].uid)).visibility == inhaul.Visibility.default
    await members[1].delete(permanent=True)


async def two_versions() -> tuple[Collection, Collection]:
    members = await tables(2)
    return await Collection(members[:1], "all").save(), await Collection(members, "all").save()


async def test_a_collection_in_the_trash_is_hidden(instance: inhaul.Instance) -> None:
    first, second = await two_versions()
    await second.delete()
    assert (second.visibility, second.is_latest) == (inhaul.Visibility.trash, False)
    assert await Collection.filter().one() == first
    assert await Collection.filter(name="all", is_latest=True).one() == first
    assert await Collection.filter(visibility=None).count() == await Collection.objects.count() == 2
    assert (await Collection.get(second.uid)).visibility == inhaul.Visibility.trash
    assert "trash" in str(await second.describe())


async def test_a_restored_collection_is_the_latest_again(instance: inhaul.Instance) -> None:
    first, second = await two_versions()
    await second.delete()
    assert await second.restore() == second
    assert (second.is_latest, (await Collection.get(first.uid)).is_latest) == (True, False)


async def test_deleting_a_collection_in_the_trash_is_for_good(instance: inhaul.Instance) -> None:
    _, second = await two_versions()
    await second.delete()
    await second.delete()
    with pytest.raises(NoResultFound):
        await Collection.get(second.uid)
    assert await Artifact.filter().count() == 2


async def test_the_uid_of_a_version_that_was_deleted_is_not_used_again(instance: inhaul.Instance) -> None:
    first, second = await two_versions()
    members = await second.artifacts.all()
    await second.delete(permanent=True)
    assert (await Collection(members, "all").save()).uid == f"{first.stem_uid}0002"


async def test_a_collection_that_is_gone_can_only_be_deleted_again(instance: inhaul.Instance) -> None:
    _, gone = await two_versions()
    await gone.delete(permanent=True)
    await gone.delete(permanent=True)
    with pytest.raises(NoResultFound, match="deleted for good"):
        await gone.save()
    with pytest.raises(NoResultFound):
        await gone.restore()


async def test_a_collection_that_is_not_saved_cannot_be_deleted(instance: inhaul.Instance) -> None:
    with pytest.raises(ValueError, match="not saved"):
        await Collection(await tables(1), "new").delete()


async def test_a_collection_is_restored_after_its_members(instance: inhaul.Instance) -> None:
    members = await tables(3)
    collection = await Collection(members, "all").save()
    await collection.delete()
    await members[0].delete()
    with pytest.raises(ValueError, match=f"restore its member {members[0].uid} from the trash first"):
        await collection.restore()
    assert collection.visibility == inhaul.Visibility.trash
    await members[0].restore()
    await collection.restore()
    with pytest.raises(InUse, match="'all'"):
        await members[0].delete(permanent=True)


async def test_a_collection_in_the_trash_is_incomplete_when_members_were_deleted(instance: inhaul.Instance) -> None:
    members = await tables(3)
    collection = await Collection(members, "all").save()
    await collection.delete()
    await members[0].delete(permanent=True)
    await Artifact.filter(key="t2.parquet").delete(permanent=True)
    again = await Collection.get(collection.uid)
    assert (again.n_missing, await again.artifacts.all()) == (2, [members[1]])
    for call in (again.restore, again.load, again.cache):
        with pytest.raises(NoResultFound, match="incomplete: 2 of its members were deleted for good"):
            await call()
    await again.delete()
    assert await Collection.objects.count() == 0


async def test_the_name_of_what_is_in_the_trash_is_free(instance: inhaul.Instance) -> None:
    members = await tables(2)
    old = await Collection(members, "all").save()
    await old.delete()
    with pytest.raises(FileExistsError, match=f"Collection {old.uid} in the trash has these members: restore it"):
        await Collection(members, "all").save()
    new = await Collection(members[:1], "all").save()
    assert new.stem_uid != old.stem_uid
    with pytest.raises(FileExistsError, match=f"collection {new.uid} has its name now"):
        await old.restore()
    assert (await Collection.get(old.uid)).visibility == inhaul.Visibility.trash


async def test_collections_are_deleted_by_a_query(instance: inhaul.Instance) -> None:
    members = await tables(2)
    trashed = await Collection(members, "trashed").save()
    await trashed.delete()
    hidden = await Collection(members[:1], "hidden").save()
    hidden.visibility = inhaul.Visibility.hidden
    await hidden.save()
    assert await Collection.filter().count() == 0
    await Collection.filter(visibility=None).delete()
    assert [one.uid for one in await Collection.objects.all()] == [hidden.uid]
    await Collection.objects.delete(permanent=True)
    assert await Collection.objects.count() == 0


async def test_no_objects_are_deleted_with_collections(instance: inhaul.Instance) -> None:
    with pytest.raises(ValueError, match="no objects of their own"):
        await Collection.objects.delete(storage=True)


async def test_what_is_in_the_trash_is_no_member(instance: inhaul.Instance) -> None:
    there, trashed = await tables(2)
    await trashed.delete()
    with pytest.raises(ValueError, match=f"{trashed.uid}.*is in the trash: restore it"):
        await Collection([there, trashed], "all").save()
    assert await Collection.objects.count() == 0


async def test_a_member_that_is_deleted_meanwhile_is_refused_or_kept(instance: inhaul.Instance) -> None:
    for number in range(6):
        (member,) = await tables(1)
        collection = Collection([member], f"c{number}")
        outcomes = await asyncio.gather(
            collection.save(), member.delete(permanent=number % 2 == 0), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert len(refused) == 1
        assert isinstance(refused[0], InUse | NoResultFound | ValueError)
        if refused[0] is outcomes[1]:
            await collection.delete(permanent=True)
        await Artifact.filter(visibility=None).delete(permanent=True)


async def test_tables_load_as_one(instance: inhaul.Instance) -> None:
    collection = await Collection(await tables(2), "all").save()
    loaded = await collection.load()
    assert list(loaded["n"]) == [0, 0, 1, 1]
    assert list(loaded.columns) == ["n", "c0", "c1"]
    assert list((await collection.load(join="inner")).columns) == ["n"]
    with pytest.raises(ValueError, match="join='left'"):
        await collection.load(join="left")  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["load", "cache"])
async def test_the_members_of_what_is_used_are_inputs(instance: inhaul.Instance, verb: str) -> None:
    members = await tables(2)
    collection = await Collection(members, "all").save()
    run = await inhaul.track(Transform("join", type="pipeline"))
    await getattr(collection, verb)()
    assert await run.inputs.all() == members


async def test_members_are_cached_in_their_order(instance: inhaul.Instance) -> None:
    members = await tables(2)
    collection = await Collection(members[::-1], "all").save()
    assert await collection.cache() == [await member.cache() for member in members[::-1]]


def cells(names: list[str], start: int, kind: str, *, sparse: bool = False) -> ad.AnnData:
    x = np.arange(start, start + 2 * len(names), dtype=np.float32).reshape(2, -1)
    obs = pd.DataFrame({"kind": pd.Categorical([kind, "other"])}, index=[f"{kind}1", f"{kind}2"])
    return ad.AnnData(csr_matrix(x) if sparse else x, obs=obs, var=pd.DataFrame(index=names))


def check_rows(mapped: MappedCollection, expected: np.ndarray) -> None:
    with mapped:
        for data in (mapped, pickle.loads(pickle.dumps(mapped))):  # noqa: S301
            rows = [data[row] for row in range(len(data))]
            np.testing.assert_array_equal([row["X"] for row in rows], expected)
            assert [row["kind"] for row in rows] == ["dense", "other", "sparse", "other", "more", "other"]
            assert [row["artifact"] for row in rows] == [0, 0, 1, 1, 2, 2]
            np.testing.assert_array_equal(data[-1]["X"], data[5]["X"])
            data.close()
        with pytest.raises(IndexError, match="among 6"):
            mapped[6]


@pytest.fixture
async def of_cells(instance: inhaul.Instance) -> Collection:
    """A collection of three AnnData: dense, and sparse in HDF5 and zarr."""
    sparse, more = (cells(["C", "A", "D"], 10, kind, sparse=True) for kind in ("sparse", "more"))
    members = [
        await Artifact(cells(["A", "B", "C"], 0, "dense"), key="dense.h5ad").save(),
        await Artifact(sparse, key="sparse.anndata.zarr", format="zarr").save(),
        await Artifact(more, key="more.h5ad").save(),
    ]
    return await Collection(members, "cells").save()


async def test_cells_load_as_one(of_cells: Collection) -> None:
    whole = await of_cells.load()
    assert whole.shape == (6, 4)
    assert list(whole.obs["artifact_uid"].unique()) == [member.uid for member in await of_cells.artifacts.all()]


async def test_cells_are_mapped_with_the_variables_of_all(of_cells: Collection) -> None:
    mapped = await of_cells.mapped(obs_keys=["kind"])
    assert (mapped.shape, list(mapped.var_names)) == ((6, 2), ["A", "C"])
    expected = np.array([[0, 2], [3, 5], [11, 10], [14, 13], [11, 10], [14, 13]])
    await asyncio.to_thread(check_rows, mapped, expected)


async def test_cells_are_mapped_with_the_variables_of_any(of_cells: Collection) -> None:
    outer = await of_cells.mapped(join="outer")
    assert set(outer.var_names) == {"A", "B", "C", "D"}
    row = (await asyncio.to_thread(outer.__getitem__, 2))["X"]
    np.testing.assert_array_equal(row[outer.var_names.get_indexer(["A", "B", "C", "D"])], [11, 0, 10, 12])
    outer.close()


async def test_a_column_that_no_cell_has_is_not_mapped(of_cells: Collection) -> None:
    with pytest.raises(ValueError, match="no column 'age'"):
        await of_cells.mapped(obs_keys=["age"])


EYE = np.eye(2, dtype=np.float32)
NOT_MAPPED: dict[str, Callable[[], ad.AnnData | pd.DataFrame]] = {
    "CSC": lambda: ad.AnnData(csc_matrix(EYE)),
    "there is no X": lambda: ad.AnnData(obs=pd.DataFrame(index=["a", "b"])),
    "two variables are named 'A'": lambda: cells(["A", "B", "A"], 0, "twice"),
    "is not an AnnData": lambda: pd.DataFrame({"n": [1]}),
}


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize("message", NOT_MAPPED)
async def test_what_cannot_be_mapped_is_refused(instance: inhaul.Instance, message: str) -> None:
    data = NOT_MAPPED[message]()
    member = await Artifact(data, key="x.parquet" if isinstance(data, pd.DataFrame) else "x.h5ad").save()
    collection = await Collection([member], "one").save()
    with pytest.raises(ValueError, match=message):
        await collection.mapped()

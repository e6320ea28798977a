"""Collections: ordered, versioned, loaded as one, mapped."""

import asyncio
import pickle
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


async def test_other_members_or_another_order_make_a_new_version(instance: inhaul.Instance) -> None:
    members = await tables()
    backwards = await Collection(members[::-1], "all", description="three tables").save()
    assert await backwards.artifacts.all() == members[::-1]
    assert (backwards.version, backwards.is_latest) == (None, True)
    again = await Collection(members[::-1], "all").save()
    assert again == backwards
    assert (again.id, again.description) == (backwards.id, "three tables")

    forwards = await Collection(members, "all").save()
    assert forwards.hash != backwards.hash
    assert forwards.stem_uid == backwards.stem_uid
    assert forwards.version == "2"
    first = await Collection.get(backwards.uid)
    assert (first.version, first.is_latest) == ("1", False)
    assert await forwards.versions.all() == [backwards, forwards]
    assert await Collection.filter(name="all", is_latest=True).one() == forwards
    assert await Collection.filter(artifacts__key="t1.parquet").count() == 2
    assert list((await forwards.artifacts.df())["key"]) == [artifact.key for artifact in members]
    with pytest.raises(TypeError, match="another version"):
        await forwards.artifacts.add(members[0])
    with pytest.raises(TypeError, match="another version"):
        await forwards.artifacts.remove(members[0])


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
        # How many more fail before the first error cancels the rest depends on the machine.
        assert all("also failed" in note for note in getattr(raised.value, "__notes__", []))


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


async def test_collections_go_by_way_of_the_trash(instance: inhaul.Instance) -> None:
    members = await tables(2)
    first = await Collection(members[:1], "all").save()
    second = await Collection(members, "all").save()
    await second.delete()
    assert (second.visibility, second.is_latest) == (inhaul.Visibility.trash, False)
    assert await Collection.filter().one() == first
    assert await Collection.filter(name="all", is_latest=True).one() == first
    assert await Collection.filter(visibility=None).count() == await Collection.objects.count() == 2
    assert (await Collection.get(second.uid)).visibility == inhaul.Visibility.trash
    assert str(await second.describe())
    assert await second.restore() == second
    assert (second.is_latest, (await Collection.get(first.uid)).is_latest) == (True, False)

    await second.delete()
    await second.delete()
    with pytest.raises(NoResultFound):
        await Collection.get(second.uid)
    third = await Collection(members, "all").save()
    assert third.uid == f"{first.stem_uid}0002"  # that of the second is used up
    await third.delete(permanent=True)
    for gone in (second, third):
        await gone.delete(permanent=True)  # it is gone already
        with pytest.raises(NoResultFound, match="deleted for good"):
            await gone.save()
        with pytest.raises(NoResultFound):
            await gone.restore()
    with pytest.raises(ValueError, match="not saved"):
        await Collection(members, "new").delete()
    assert await Artifact.filter().count() == 2


async def test_a_collection_in_the_trash_holds_nobody(instance: inhaul.Instance) -> None:
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
    new.visibility = inhaul.Visibility.hidden
    await new.save()
    assert await Collection.filter().count() == 0
    await Collection.filter(visibility=None).delete()
    assert [one.uid for one in await Collection.objects.all()] == [new.uid]
    await Collection.objects.delete(permanent=True)
    assert await Collection.objects.count() == 0
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
    run = await inhaul.track(Transform("join", type="pipeline"))
    loaded = await collection.load()
    assert list(loaded["n"]) == [0, 0, 1, 1]
    assert list(loaded.columns) == ["n", "c0", "c1"]
    assert list((await collection.load(join="inner")).columns) == ["n"]
    assert len(await run.inputs.all()) == 2
    assert [path.suffix for path in await collection.cache()] == [".parquet"] * 2
    with pytest.raises(ValueError, match="join='left'"):
        await collection.load(join="left")  # type: ignore[arg-type]


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


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
async def test_cells_are_mapped(instance: inhaul.Instance, tmp_path: Path) -> None:
    dense = cells(["A", "B", "C"], 0, "dense")
    sparse, more = (cells(["C", "A", "D"], 10, kind, sparse=True) for kind in ("sparse", "more"))
    members = [
        await Artifact(dense, key="dense.h5ad").save(),
        await Artifact(sparse, key="sparse.anndata.zarr", format="zarr").save(),
        await Artifact(more, key="more.h5ad").save(),
    ]
    collection = await Collection(members, "cells").save()
    whole = await collection.load()
    assert whole.shape == (6, 4)
    assert list(whole.obs["artifact_uid"].unique()) == [member.uid for member in members]

    mapped = await collection.mapped(obs_keys=["kind"])
    expected = ad.concat([dense, sparse, more], join="inner")[:, ["A", "C"]].X
    assert (mapped.shape, list(mapped.var_names)) == ((6, 2), ["A", "C"])
    await asyncio.to_thread(check_rows, mapped, csr_matrix(expected).toarray())
    outer = await collection.mapped(join="outer")
    assert set(outer.var_names) == {"A", "B", "C", "D"}
    row = (await asyncio.to_thread(outer.__getitem__, 2))["X"]
    np.testing.assert_array_equal(row[outer.var_names.get_indexer(["A", "B", "C", "D"])], [11, 0, 10, 12])
    outer.close()

    with pytest.raises(ValueError, match="no column 'age'"):
        await collection.mapped(obs_keys=["age"])
    by_columns = ad.AnnData(csc_matrix(np.eye(2, dtype=np.float32)))
    with pytest.raises(ValueError, match="CSC"):
        await (await Collection([await Artifact(by_columns, key="c.h5ad").save()], "csc").save()).mapped()
    without_x = ad.AnnData(obs=by_columns.obs)
    with pytest.raises(ValueError, match="there is no X"):
        await (await Collection([await Artifact(without_x, key="n.h5ad").save()], "none").save()).mapped()
    with pytest.raises(ValueError, match="two variables are named 'A'"):
        twice = await Artifact(cells(["A", "B", "A"], 0, "twice"), key="t.h5ad").save()
        await (await Collection([twice], "twice").save()).mapped()
    with pytest.raises(ValueError, match="is not an AnnData"):
        await (await Collection(await tables(1), "tables").save()).mapped()

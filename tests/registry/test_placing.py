"""Artifacts in a storage that the user names: `Artifact(..., storage=)`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

import inhaul
import inhaul.sync as ih
from inhaul import Artifact, Storage, ownership
from inhaul.db import tables
from inhaul.errors import KeyExists, UnsupportedStorage, WrongWorld
from inhaul.ingestion.activity import storing
from striking import Struck, breaker, cancel
from trees import write


async def roots() -> list[str]:
    return [storage.root for storage in await Storage.filter().order_by("id").all()]


@pytest.mark.parametrize("form", ["root", "path", "unsaved", "saved"])
async def test_an_artifact_is_stored_where_the_user_says(instance: inhaul.Instance, tmp_path: Path, form: str) -> None:
    shelf = tmp_path / "shelf"
    storage: Any = {"root": str(shelf), "path": shelf}.get(form) or Storage(shelf)
    if form == "saved":
        await storage.save()
    artifact = Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=storage)
    await artifact
    assert (str(shelf) in await roots()) == (form == "saved"), "staging writes nothing"
    await artifact.save()
    assert artifact.storage.root == str(shelf)
    assert artifact.path.is_relative_to(shelf)
    assert await artifact.load() == "a"
    if form == "unsaved":
        assert storage.id == artifact.storage.id
    assert sorted(await roots()) == sorted([instance.root, str(shelf)])
    assert (await inhaul.verify(artifact.storage)).ok


async def test_a_key_is_that_of_one_storage(instance: inhaul.Instance, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=shelf).save()
    again = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=shelf).save()
    assert again == artifact
    newer = await Artifact(write(tmp_path / "a.txt", "b"), key="a.txt", storage=shelf).save()
    assert (newer.stem_uid, newer.storage.root) == (artifact.stem_uid, str(shelf))
    other = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    assert (other.storage.root, other.stem_uid == artifact.stem_uid) == (instance.root, False)


async def test_a_real_key_is_the_place_in_the_storage_that_the_user_says(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    real = await Artifact(write(tmp_path / "r.txt", "r"), key="d/r.txt", storage=shelf, key_is_virtual=False).save()
    assert real.path == shelf / "d" / "r.txt"
    with pytest.raises(KeyExists):
        await Artifact(write(tmp_path / "r.txt", "s"), key="d/r.txt", storage=shelf, key_is_virtual=False).save()
    assert real.path.read_text() == "r"


@pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata")
async def test_tables_and_matrices_are_stored_where_the_user_says(instance: inhaul.Instance, tmp_path: Path) -> None:
    cells = ad.AnnData(np.eye(2, dtype=np.float32))
    pairs = [
        Artifact.from_df(pd.DataFrame({"x": [1]}), "x.parquet", storage=tmp_path / "shelf"),
        Artifact.from_anndata(cells, "x.h5ad", storage=Storage(tmp_path / "shelf")),
    ]
    pairs.append(Artifact.from_mudata(mudata.MuData({"rna": cells}), "x.h5mu", storage=str(tmp_path / "shelf")))
    for artifact in pairs:
        assert (await artifact.save()).path.is_relative_to(tmp_path / "shelf")


async def test_data_that_lies_in_a_storage_stays_there(instance: inhaul.Instance, tmp_path: Path) -> None:
    inside = write(tmp_path / "shelf" / "d" / "a.txt", "a")
    artifact = await Artifact(inside, storage=tmp_path / "shelf").save()
    assert (artifact.key, artifact.key_is_virtual, artifact.path) == ("d/a.txt", False, inside)
    assert await Artifact(inside, storage=artifact.storage).save() == await Artifact(inside).save() == artifact
    with pytest.raises(ValueError, match=r"lies in the storage .*/shelf, not in .*/storage"):
        await Artifact(inside, storage=instance.root)
    with pytest.raises(ValueError, match=r"lies in the storage .*/shelf, not in .*/other"):
        await Artifact(inside, storage=tmp_path / "other").save()
    assert str(tmp_path / "other") not in await roots()


async def test_what_is_no_storage_is_refused_at_the_call(instance: inhaul.Instance, tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "a")
    async with inhaul.connect(tmp_path / "elsewhere"):
        foreign = await Storage(tmp_path / "foreign").save()
    for storage, error, match in (
        (5, TypeError, "pass a Storage, or its root"),
        ("", ValueError, "empty"),
        (inhaul.ULabel("a"), TypeError, "pass a Storage"),
        (ih.Storage(tmp_path), WrongWorld, "other API"),
        (foreign, ValueError, "belongs to"),
        ("ftp://bucket", UnsupportedStorage, "ftp://"),
    ):
        with pytest.raises(error, match=match):
            Artifact(file, key="a.txt", storage=storage)
    assert await roots() == []


async def test_an_artifact_is_stored_in_the_bucket_that_the_user_names(
    instance: inhaul.Instance, tmp_path: Path, s3_root: str
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=s3_root).save()
    assert (artifact.storage.root, artifact.storage.type) == (s3_root, "s3")
    assert await artifact.load() == "a"
    assert await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=artifact.storage).save() == artifact


def test_the_blocking_api_stores_where_the_user_says(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        storage = ih.Storage(tmp_path / "shelf")
        artifact = ih.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=storage).save()
        assert artifact.path.is_relative_to(tmp_path / "shelf")
        assert artifact.storage == storage


async def test_a_file_is_no_root_of_a_storage(instance: inhaul.Instance, tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "a")
    shelf = await Storage(tmp_path / "shelf").save()
    for refused in (
        Storage(file).save,
        Artifact(file, key="a.txt", storage=file).save,
        Artifact(file, key="a.txt", storage=Storage(file)).save,
        lambda: shelf.move(file),
    ):
        with pytest.raises(NotADirectoryError, match="the root of a storage is a folder"):
            await refused()
    with pytest.raises(NotADirectoryError, match="the root of a storage is a folder"):
        inhaul.connect(file)
    assert str(file) not in await roots()
    assert await Artifact.objects.count() == 0


def marks(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file()]


async def test_a_save_that_failed_leaves_no_storage(instance: inhaul.Instance, tmp_path: Path, s3_root: str) -> None:
    await instance.open()
    shelf, before = tmp_path / "shelf", await roots()
    for root in (str(shelf), s3_root):
        storage = Storage(root)
        source = write(tmp_path / "a.txt", "a")
        artifact = await Artifact(source, key="a.txt", storage=storage)
        write(source, "b")
        with pytest.raises(inhaul.errors.FileChanged):
            await artifact.save()
        later = Artifact(source, key="c.txt", storage=storage)
        with pytest.raises(ExceptionGroup):
            await inhaul.save([Artifact(tmp_path / "none.txt", key="b.txt", storage=root)])
        struck = await breaker(instance)
        struck.fail_commit(2, "refused")  # the first one takes the lease
        with pytest.raises(inhaul.errors.DatabaseFailed):
            await later.save()
        assert struck.is_struck
        assert await roots() == before
        assert [page async for page in instance.store(root).list("")] in ([], [[]])
        assert await (await artifact.save()).load() == "b"
        assert await (await later.save()).load() == "b"
        assert (await inhaul.verify(storage)).ok
        assert (await query_marks(instance))[root] is not None
        before = await roots()


@pytest.mark.parametrize("first", ["ingest", "save", "open"])
async def test_a_default_storage_that_cannot_be_reached_is_not_registered(
    tmp_path: Path, s3_root: str, database_url: str, first: str
) -> None:
    source = write(tmp_path / "data" / "a.txt", "a")
    async with inhaul.connect(s3_root.replace("s3://", "s3://no-such-", 1), database_url) as mistyped:
        with pytest.raises(inhaul.errors.StorageMissing):
            if first == "ingest":
                await inhaul.ingest(source.parent)
            elif first == "save":
                await Artifact(source, key="a.txt").save()
            else:
                await mistyped.open()
        assert await roots() == []
    async with inhaul.connect(s3_root, database_url):
        await Artifact(source, key="a.txt").save()
        assert await roots() == [s3_root]


async def query_marks(instance: inhaul.Instance) -> dict[str, Any]:
    """When each storage got its mark."""
    storage, mark = tables.storage, tables.storage_mark
    async with instance.database.read() as conn:
        query = select(storage.c.root, mark.c.made_at).outerjoin(mark, mark.c.storage_id == storage.c.id)
        return {row.root: row.made_at for row in await conn.execute(query)}


async def test_a_save_that_is_cancelled_anywhere_leaves_no_storage(instance: inhaul.Instance, tmp_path: Path) -> None:
    await instance.open()
    source = write(tmp_path / "a.txt", "a")
    for step in range(1, 400, 2):
        shelf = tmp_path / f"shelf{step}"
        artifact = Artifact(source, key="a.txt", storage=shelf)

        async def save(artifact: Artifact = artifact, step: int = step) -> bool:
            call = Struck(artifact.save(), step, cancel)
            try:
                await call
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()  # type: ignore[union-attr]  # there is one
            return call.is_struck

        if not await save():
            break
        is_saved = artifact._id is not None
        assert (str(shelf) in await roots()) == is_saved
        assert len(marks(shelf)) == (2 if is_saved else 0), f"cancelled at await {step}"
    assert step > 20
    marked = await query_marks(instance)
    assert [root for root, at in marked.items() if at is None] == [instance.root], "where nothing is stored"


async def test_a_mark_stays_where_another_call_stores(instance: inhaul.Instance, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    await instance.open()
    artifact = await Artifact(source := write(tmp_path / "a.txt", "a"), key="a.txt", storage=shelf)
    write(source, "b")
    async with storing(instance.database):
        await instance.writable(str(shelf))
        with pytest.raises(inhaul.errors.FileChanged):
            await artifact.save()
        assert len(marks(shelf)) == 1
    await artifact
    write(source, "c")
    with pytest.raises(inhaul.errors.FileChanged):
        await artifact.save()
    assert marks(shelf) == []
    assert str(shelf) not in await roots()


async def test_a_root_that_somebody_else_registers_meanwhile_keeps_its_mark(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", storage=shelf).save()
    (mark,) = (shelf / ".inhaul" / "registries").iterdir()
    before = mark.read_bytes()
    await ownership.claim_new(instance.database, instance.stores.at(str(shelf)), "of nobody")
    assert mark.read_bytes() == before


async def test_many_artifacts_at_once_give_a_new_storage_one_mark(instance: inhaul.Instance, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    sources = [write(tmp_path / f"{number}.txt", str(number)) for number in range(20)]
    await inhaul.save([Artifact(source, key=source.name, storage=shelf) for source in sources])
    storage = await Storage.filter(root=str(shelf)).one()
    (mark,) = (shelf / ".inhaul" / "registries").iterdir()
    assert json.loads(mark.read_bytes())["storage"] == storage.uid
    assert await Artifact.filter(storage=storage).count() == 20


async def test_no_storage_lies_among_the_objects_of_another_one(instance: inhaul.Instance, tmp_path: Path) -> None:
    """The other one would collect its files if their names look like those of objects."""
    source = write(tmp_path / "a.txt", "a")
    await instance.open()
    for inside in ("x", "x/deeper", "temporary", "registries/y"):
        root = tmp_path / "storage" / ".inhaul" / inside
        for refused in (
            Storage(root).save,
            Artifact(source, key="a.txt", storage=root).save,
            Artifact(source, key="a.txt", storage=Storage(root)).save,
        ):
            with pytest.raises(UnsupportedStorage, match="among the objects of another storage"):
                await refused()
        with pytest.raises(UnsupportedStorage, match="among the objects of another storage"):
            inhaul.connect(root)
    assert await roots() == [instance.root]
    await Artifact(source, key="a.txt", storage=tmp_path / "storage" / ".inhaul" / "storage").save()

"""Other content for an artifact that stays itself."""

import asyncio
import itertools
import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, Run, Transform
from inhaul.content.files import FileContent
from inhaul.errors import FileChanged, KeyExists, NoResultFound, StorageDenied
from inhaul.stores.local.store import LocalStore
from proxy import Delay, Status
from registries import PART, artifacts, assert_consistent, seeds
from s3_places import Place
from striking import Struck, cancel
from trees import write

pytestmark = pytest.mark.usefixtures("no_power_fails")


async def test_an_artifact_stays_itself_with_new_content(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    first = await Artifact(write(tmp_path / "a.csv", "a\n1\n"), key="in/table.csv", description="numbers").save()
    uid, old = first.uid, first.path
    run = Run(Transform("correct"))
    await first.replace(write(tmp_path / "b.csv", "a\n22\n"), run=run)
    assert (first.uid, first.key, first.size, first.run) == (uid, "in/table.csv", 5, run)
    assert not old.exists()
    for artifact in (first, await Artifact.get(uid)):
        assert (await artifact.load())["a"][0] == 22
        assert artifact.description == "numbers"
        assert artifact.run == run
    await first.replace(pd.DataFrame({"a": [3, 4]}))
    assert (first.key, first.suffix, first.accessor, first.n_observations) == (
        "in/table.parquet",
        ".parquet",
        "DataFrame",
        2,
    )
    assert list((await (await Artifact.get(uid)).load())["a"]) == [3, 4]
    assert len(await artifacts(database_url)) == 1
    await assert_consistent(database_url, Path(instance.root))
    assert await Artifact(first.path) == first


async def test_a_folder_is_replaced_only_by_a_folder(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    write(tmp_path / "one" / "a.txt", "1")
    write(tmp_path / "two" / "deep" / "b.txt", "2")
    folder = await Artifact(tmp_path / "one", key="images").save()
    old = folder.path
    await folder.replace(tmp_path / "two")
    assert not list(old.rglob("*.txt"))
    assert [path.name for path in folder.path.rglob("*.txt")] == ["b.txt"]
    file = await Artifact(tmp_path / "one" / "a.txt", key="a.txt").save()
    with pytest.raises(ValueError, match="is a folder: a file cannot"):
        await folder.replace(tmp_path / "one" / "a.txt")
    with pytest.raises(ValueError, match="is a file: a folder cannot"):
        await file.replace(tmp_path / "one")


async def test_nothing_is_left_by_a_call_that_was_cancelled_anywhere_and_repeated(tmp_path: Path) -> None:
    file = write(tmp_path / "new.txt", "new")
    async with inhaul.connect(storage=tmp_path / "storage") as instance:
        for step in itertools.count(1):
            artifact = await Artifact(write(tmp_path / "old.txt", str(step)), key=f"{step}.txt").save()
            call = Struck(artifact.replace(file), step, cancel)
            error = await call.outcome()
            await artifact.replace(file)
            assert await artifact.load() == "new", step
            stored = sorted(Path(instance.root, ".inhaul").rglob("*.txt"))
            assert stored == sorted([one.path async for one in Artifact.filter()]), step
            if not call.is_struck:
                assert error is None
                break


async def test_wrong_replacements_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    own = write(Path(instance.root) / "own.txt", "mine")
    new = write(tmp_path / "new.txt", "new")
    with pytest.raises(ValueError, match="not saved"):
        await Artifact(new, key="new.txt").replace(new)
    write(Path(instance.root) / "folder/a.txt", "a")
    with pytest.raises(ValueError, match="the user's folder"):
        await (await Artifact(Path(instance.root) / "folder").save()).replace(tmp_path)
    artifact = await Artifact(new, key="t.txt").save()
    with pytest.raises(ValueError, match="lies in the storage"):
        await artifact.replace(own)
    with pytest.raises(FileNotFoundError):
        await artifact.replace(tmp_path / "none.txt")
    with pytest.raises(TypeError, match="not from int"):
        await artifact.replace(5)
    with pytest.raises(TypeError, match="run="):
        await artifact.replace(new, run="today")
    async with inhaul.connect(storage=tmp_path / "elsewhere"):
        run = await Run(Transform("there")).save()
    with pytest.raises(ValueError, match="belongs to"):
        await artifact.replace(new, run=run)
    await Artifact(write(tmp_path / "t.csv", "1"), key="t.csv").save()
    with pytest.raises(KeyExists):
        await artifact.replace(write(tmp_path / "other.csv", "2"))
    assert (artifact.key, await artifact.load()) == ("t.txt", "new")
    gone = await Artifact.get(artifact.uid)
    await gone.delete(permanent=True)
    with pytest.raises(NoResultFound, match="deleted"):
        await artifact.replace(write(tmp_path / "late.txt", "late"))


async def test_what_fails_leaves_everything_as_it_was(
    instance: inhaul.Instance, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = await Artifact(write(tmp_path / "t.txt", "old"), key="t.txt").save()
    before = await artifacts(database_url)
    new = write(tmp_path / "new.txt", "new")
    store = FileContent.store

    async def spoiled(self: FileContent, *arguments: Any, **options: Any) -> str:
        await asyncio.to_thread(write, new, "changed meanwhile")
        return await store(self, *arguments, **options)

    async def cancelled(self: FileContent, *arguments: Any, **options: Any) -> str:
        await store(self, *arguments, **options)
        raise asyncio.CancelledError

    for faulty, error in ((spoiled, FileChanged), (cancelled, asyncio.CancelledError)):
        monkeypatch.setattr(FileContent, "store", faulty)
        with pytest.raises(error):
            await artifact.replace(new)
    assert await artifacts(database_url) == before
    assert await artifact.load() == "old"
    await assert_consistent(database_url, Path(instance.root))


async def test_many_replacements_at_once_leave_one_object(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    artifact = await Artifact(write(tmp_path / "t.txt", "old"), key="t.txt").save()
    copies = [await Artifact.get(artifact.uid) for _ in range(6)]
    contents = [write(tmp_path / f"{number}.txt", str(number)) for number in range(6)]
    await asyncio.gather(*(copy.replace(content) for copy, content in zip(copies, contents, strict=True)))
    await assert_consistent(database_url, Path(instance.root))  # the last one's object is there, and no other


async def test_what_is_replaced_while_it_is_deleted_leaves_nothing(
    instance: inhaul.Instance, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, newer = write(tmp_path / "new.csv", "a\n2\n"), write(tmp_path / "newer.csv", "a\n3\n")
    one = await Artifact(write(tmp_path / "a.csv", "a\n1\n"), key="a.csv").save()
    other = await Artifact.get(one.uid)
    remove = LocalStore.remove

    async def replace_and_remove(store: LocalStore, object_keys: Iterable[str]) -> None:
        monkeypatch.setattr(LocalStore, "remove", remove)
        with pytest.raises(NoResultFound, match="has been deleted"):
            await other.replace(new)
        await store.remove(object_keys)

    monkeypatch.setattr(LocalStore, "remove", replace_and_remove)
    await one.delete(permanent=True)
    assert not await artifacts(database_url)
    assert not [path for path in Path(instance.root).rglob("*.csv") if path.is_file()]

    one = await Artifact(new, key="a.csv").save()
    outcomes = await asyncio.gather(one.replace(newer), one.delete(permanent=True), one.save(), return_exceptions=True)
    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], NoResultFound)
    assert not await artifacts(database_url)
    assert not [path for path in Path(instance.root).rglob("*.csv") if path.is_file()]


@pytest.mark.filterwarnings("ignore:.*gc.. can remove what it was:UserWarning")
@seeds(4, 100)
async def test_replace_as_a_whole_or_not_at_all(place: Place, tmp_path: Path, seed: int) -> None:
    """Whatever request is refused, or whenever it is cancelled."""
    rng = random.Random(seed)
    url = f"sqlite:///{tmp_path}/registry.db"
    size = rng.choice([1000, 9 << 20])
    new = tmp_path / "new.txt"
    new.write_bytes(rng.randbytes(size))
    async with inhaul.connect(str(place.address), url, storage_options=place.server.options):
        artifact = await Artifact(write(tmp_path / "t.txt", "old"), key="t.txt").save()
        before = (await artifacts(url))[0]
        requests = itertools.count()
        if is_cancelled := rng.random() < 0.5:
            place.proxy.add(Delay(0.05))
        else:
            refused = rng.randrange(4 if size > PART else 2)
            place.proxy.add(Status(403, "AccessDenied"), when=lambda request: next(requests) == refused)
        call = asyncio.create_task(artifact.replace(new))
        await asyncio.wait([call], timeout=rng.uniform(0, 0.4) if is_cancelled else None)
        call.cancel()
        await asyncio.wait([call])
        place.proxy.clear()

        after = (await artifacts(url))[0]
        assert after["uid"] == before["uid"]
        failed = call.cancelled() or call.exception() is not None
        if failed and not call.cancelled():
            assert isinstance(call.exception(), StorageDenied)
        content = place.content(after["object_key"])
        if failed and not call.cancelled():
            assert after == before
        assert content == (b"old" if after == before else new.read_bytes())
        await inhaul.gc(delete=True, older_than=timedelta(0))
    assert set(place.contents()) == {after["object_key"]}
    assert place.uploads() == []

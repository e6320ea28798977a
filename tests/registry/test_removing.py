"""Artifacts deleted for good: their rows go, then their objects. After a crash, only objects are left to remove."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

import children
import inhaul
from inhaul import Artifact
from inhaul.errors import NoResultFound, StorageDenied
from inhaul.stores.base import Stat
from inhaul.stores.local.store import LocalStore
from registries import artifacts, assert_consistent, query, seeds
from trees import write

DELETE = """
import asyncio, functools, os, signal, sys
import inhaul
from inhaul.db import engine, removals
from inhaul.stores.local import store as local

async def main(root, url, label, count, *uids):
    left = int(count)
    owner, name, when = label.split(".")
    owner = {"removals": removals, "Database": engine.Database, "LocalStore": local.LocalStore}.get(owner)

    def crash(moment):
        nonlocal left
        left -= moment == when
        if moment == when and left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if owner is not None:
        function = getattr(owner, name)

        @functools.wraps(function)
        async def watched(*arguments, **options):
            crash("before")
            result = await function(*arguments, **options)
            crash("after")
            return result

        setattr(owner, name, watched)
    async with inhaul.connect(root, url):
        records = [await inhaul.Artifact.get(uid) for uid in uids]
        print("ready", flush=True)
        for record in records:
            await record.delete(permanent=True, storage=True)

asyncio.run(main(*sys.argv[1:]))
"""
LABELS = [
    f"{call}.{when}"
    for call in ("removals.forget", "Database.sync", "LocalStore.remove", "removals.done")
    for when in ("before", "after")
]


async def filled(root: Path, url: str) -> list[Artifact]:
    """Saves files and folders, under names of inhaul and under keys of users."""
    for name in ("a.csv", "b.csv", "folder/c.csv", "folder/deep/d.csv"):
        write(root / "own" / name, f"{name}\n1\n")
    write(root.parent / "source" / "e.csv", "e\n1\n")
    for name in "fg":
        write(root.parent / "source" / "tree" / f"{name}.csv", f"{name}\n1\n")
    source = root.parent / "source"
    made = [
        Artifact(source / "e.csv", key="e.csv"),
        Artifact(source / "tree", key="tree"),
        Artifact(root / "own" / "a.csv"),
        Artifact(root / "own" / "folder"),
        Artifact(source / "e.csv", description="no key"),
        Artifact(root / "own" / "b.csv"),
    ]
    return [await one.save() for one in made]


def stored(root: Path) -> set[str]:
    """Returns the files in a storage, except those of the registry."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("registry.db") and "registries" not in path.parts
    }


@seeds(5, 100)
async def test_a_deletion_that_was_killed_can_only_go_on(database_url: str, tmp_path: Path, seed: int) -> None:
    rng = random.Random(f"{seed} {database_url[:6]}")
    root = tmp_path / "storage"
    async with inhaul.connect(root, database_url):
        records = await filled(root, database_url)
        if rng.random() < 0.5:
            await records[0].delete()
    uids = [record.uid for record in rng.sample(records, len(records))]
    label, count = rng.choice([*LABELS, "none.at.all"]), rng.randint(1, 6)
    arguments = [sys.executable, "-c", DELETE, str(root), database_url, label, str(count), *uids]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        if label.startswith("none"):
            time.sleep(rng.uniform(0, 0.1))
            child.kill()
        _, errors = child.communicate()
        assert errors == b"", label

    left = {row["uid"] for row in await artifacts(database_url)}
    gone = [record for record in records if record.uid not in left]
    for record in records:
        if record.uid in left:  # each remaining row has its object
            assert record.path.exists()
    # Two other writers finish the deletion, or garbage collection does.
    one, other = inhaul.connect(root, database_url), inhaul.connect(root, database_url)
    async with one, other:
        for record in gone:
            with pytest.raises(NoResultFound):
                await (await Artifact.get(record.uid)).restore()
        if rng.random() < 0.3:
            await inhaul.gc(delete=True)
        else:
            await asyncio.gather(one.recover(), other.recover())
        assert await query(database_url, "SELECT * FROM deletion") == []
        for record in gone:
            assert not record.path.exists()
        for record in await Artifact.filter(visibility=None).all():
            assert (await record.restore()).path.exists()
            await record.delete(permanent=True, storage=True)
        assert stored(root) == set()
        assert await Artifact.filter(visibility=None).count() == 0


@pytest.mark.parametrize("again", ["save", "from_dir", "ingest"])
async def test_content_under_deletion_is_stored_anew(database_url: str, tmp_path: Path, again: str) -> None:
    root, file = tmp_path / "storage", write(tmp_path / "tree" / "a.csv", "a\n1\n")
    async with inhaul.connect(root, database_url):
        (first,) = await Artifact.from_dir(file.parent).save()
    killed = children.run(DELETE, str(root), database_url, "LocalStore.remove.before", "1", first.uid)
    assert killed.returncode < 0
    assert first.path.exists()
    async with inhaul.connect(root, database_url):
        if again == "save":
            await Artifact(file, key="tree/a.csv").save()
        elif again == "from_dir":
            await Artifact.from_dir(file.parent).save()
        else:
            assert (await inhaul.ingest(file.parent)).counts["new"] == 1
        found = await Artifact.filter(key="tree/a.csv").one()
        assert found.stem_uid != first.stem_uid
    await assert_consistent(database_url, root)


async def test_a_file_that_came_after_a_killed_deletion_stays(database_url: str, tmp_path: Path) -> None:
    root = tmp_path / "storage"
    async with inhaul.connect(root, database_url):
        records = [record for record in await filled(root, database_url) if not record.key_is_virtual]
    # It deletes all records in one call, so that all objects are left when it is killed.
    loop = "for record in records:\n            await record.delete(permanent=True, storage=True)"
    at_once = "await delete.remove(inhaul.instance.current(), [record.id for record in records], True)"
    script = DELETE.replace(loop, at_once).replace(
        "import inhaul\n", "import inhaul\nfrom inhaul.registry.verbs import delete\n"
    )
    killed = children.run(
        script, str(root), database_url, "LocalStore.remove.before", "1", *(one.uid for one in records)
    )
    assert killed.returncode < 0, killed
    write(root / "own" / "a.csv", "other content")
    write(root / "own" / "folder" / "new.csv", "new")
    async with inhaul.connect(root, database_url) as instance:
        await instance.recover()
    assert {path for path in stored(root) if path.startswith("own")} == {"own/a.csv", "own/folder/new.csv"}


async def test_what_another_process_removes_at_the_same_moment_is_gone(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "storage"
    async with inhaul.connect(root, database_url):
        record = await Artifact(write(root / "own" / "a.csv", "a\n1\n")).save()
    killed = children.run(DELETE, str(root), database_url, "LocalStore.remove.before", "1", record.uid)
    assert killed.returncode < 0, killed
    stat = LocalStore.stat

    async def removed_since(store: LocalStore, object_key: str) -> Stat | None:
        found = await stat(store, object_key)
        await asyncio.to_thread((root / "own" / "a.csv").unlink, missing_ok=True)
        return found

    async with inhaul.connect(root, database_url) as instance:
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "stat", removed_since)
            await instance.recover()
        assert await query(database_url, "SELECT * FROM deletion") == []


async def test_a_storage_that_lets_nothing_go_is_asked_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "storage"

    async def refuse(store: LocalStore, object_keys: Iterable[str]) -> None:
        raise StorageDenied("no")

    async with inhaul.connect(root, database_url):
        one, other, kept = [await Artifact(write(tmp_path / f"{n}.txt", n), key=f"{n}.txt").save() for n in "abc"]
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "remove", refuse)
            for record in (one, other, kept):
                with pytest.raises(StorageDenied) as error:
                    await record.delete(permanent=True)
                assert "the next write, or gc(), removes them" in error.value.__notes__[-1]
            assert await Artifact.filter(visibility=None).count() == 0
            async with inhaul.connect(root, database_url) as later:
                with pytest.warns(UserWarning, match=r"still in .*storage.* no"):
                    await later.recover()
                await later.recover()  # which has given up, and does not warn again
        await one.delete(permanent=True)
        await kept.delete(permanent=True, storage=False)
        assert (one.path.exists(), other.path.exists(), kept.path.exists()) == (False, True, True)
        await Artifact(write(tmp_path / "d.txt", "d"), key="d.txt").save()
        assert (other.path.exists(), kept.path.exists()) == (False, True)

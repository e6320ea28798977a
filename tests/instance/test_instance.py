"""Connecting: where things are, which instance is current, and what appears when."""

import asyncio
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact, Storage, User
from inhaul.errors import UnsupportedDatabase, UnsupportedStorage
from inhaul.stores import pool


def test_connect_decides_where_storage_and_registry_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = inhaul.connect()
    assert default.root == str(tmp_path / ".inhaul" / "storage")
    assert default.database.path == tmp_path / ".inhaul" / "registry.db"
    given = inhaul.connect(storage="data")
    assert given.root == str(tmp_path / "data")
    assert given.database.path == tmp_path / "data" / ".inhaul" / "registry.db"
    apart = inhaul.connect(storage="data", db=f"sqlite:///{tmp_path}/r.db")
    assert apart.database.path == tmp_path / "r.db"
    assert repr(str(tmp_path / "data")) in repr(given)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(inhaul.settings, "storage", str(tmp_path / "set"))
    monkeypatch.setattr(inhaul.settings, "db", f"sqlite:///{tmp_path}/set.db")
    assert inhaul.connect().root == str(tmp_path / "set")
    assert inhaul.connect().database.path == tmp_path / "set.db"


def test_the_folder_of_the_cache_may_be_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inhaul.settings, "cache_dir", str(tmp_path / "copies"))
    assert inhaul.settings.cache_dir == tmp_path / "copies"
    inhaul.connect()
    with pytest.raises(TypeError, match="cache_dir=None: pass a text"):
        inhaul.settings.cache_dir = None  # type: ignore[assignment]


def test_addresses_that_are_not_served_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedStorage, match="ftp://"):
        inhaul.connect(storage="ftp://bucket")
    with pytest.raises(UnsupportedDatabase):
        inhaul.connect(db="mysql://host/db")


async def test_nothing_appears_before_the_first_write(tmp_path: Path) -> None:
    async with inhaul.connect():
        assert await Artifact.filter().all() == []
        assert await User.filter().count() == 0
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "a.txt").write_text("a")
        await Artifact("a.txt", key="a.txt").save()
        assert (tmp_path / ".inhaul" / "registry.db").is_file()


async def test_opening_registers_the_storage_and_the_user(tmp_path: Path, database_url: str) -> None:
    instance = await inhaul.connect(storage=tmp_path / "s", db=database_url)
    async with instance:
        assert [storage.root for storage in await Storage.filter().all()] == [str(tmp_path / "s")]
        assert [user.handle for user in await User.filter().all()] == [inhaul.settings.user]
    again = await inhaul.connect(storage=tmp_path / "s", db=database_url)
    async with again:
        assert await Storage.filter().count() == await User.filter().count() == 1


async def test_the_innermost_instance_is_current(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    outer = inhaul.connect(storage="outer")
    async with inhaul.connect(storage="inner") as inner:
        async with inhaul.connect(storage="innermost"):
            await Artifact("a.txt", key="a.txt").save()
            assert await Artifact.filter().count() == 1
        assert await Artifact.filter().count() == 0
        late = Artifact("a.txt", key="a.txt")
    await late.save()
    assert late.storage.root == inner.root
    assert await Artifact.filter().count() == 0
    await Artifact("a.txt", key="b.txt").save()
    assert (await Artifact.filter().one()).path.is_relative_to(outer.root)
    await outer.aclose()
    await inner.aclose()


def test_one_instance_works_in_several_loops(tmp_path: Path) -> None:
    instance = inhaul.connect(storage="s")
    (tmp_path / "a.txt").write_text("a")

    async def save(key: str) -> int:
        await Artifact("a.txt", key=key).save()
        return await Artifact.filter().count()

    assert instance.root == str(tmp_path / "s")
    assert asyncio.run(save("a.txt")) == 1
    assert asyncio.run(save("b.txt")) == 2


async def test_the_stores_of_a_loop_are_made_once(s3_root: str) -> None:
    async with inhaul.connect(s3_root) as instance:
        before = len(pool._unclosed)
        stores = {id(instance.store(instance.root)) for _ in range(3)}
        assert (len(stores), len(pool._unclosed)) == (1, before + 1)
    assert len(pool._unclosed) == before

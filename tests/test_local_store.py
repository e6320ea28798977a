"""Folders of this machine as stores."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inhaul.errors import InvalidKey, KeyExists, ObjectChanged, ObjectMissing
from inhaul.hashing import hash_bytes
from inhaul.stores import base
from inhaul.stores.local import LocalStore
from trees import write


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "root"))


async def listed(store: LocalStore, prefix: str = "") -> list[str]:
    return [entry.key async for page in store.list(prefix) for entry in page]


async def test_what_is_put_is_there(store: LocalStore, tmp_path: Path) -> None:
    source = write(tmp_path / "source", "text")
    digest = hash_bytes(b"text")
    assert await store.put_file(source, ".inhaul/a/one", digest) == "local"
    assert await store.put_bytes(b"text", "deep/er/two.txt", digest, exclusive=True) == "local"
    stat = await store.stat("deep/er/two.txt")
    assert stat is not None
    assert (stat.size, stat.etag) == (4, None)
    assert abs(stat.modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert await listed(store) == [".inhaul/a/one", "deep/er/two.txt"]
    assert await store.stat("deep") is await store.stat("none") is None


async def test_a_key_that_a_user_chose_is_never_seen_half_written(store: LocalStore, tmp_path: Path) -> None:
    content = os.urandom(8 << 20)
    digest, target = hash_bytes(content), Path(store.root, "real.bin")
    sizes: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            sizes.add(target.stat().st_size if target.exists() else -1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        await store.put_bytes(content, "real.bin", digest, exclusive=True)
    finally:
        done.set()
        watcher.join()
    assert sizes <= {-1, len(content)}
    with pytest.raises(KeyExists, match="choose another"):
        await store.put_file(write(tmp_path / "x", "x"), "real.bin", hash_bytes(b"x"), exclusive=True)
    assert target.read_bytes() == content
    assert list(Path(store.root, ".inhaul").rglob("*")) == [Path(store.root, ".inhaul/temporary")]


async def test_removing(store: LocalStore) -> None:
    for key in ("a/b", "a/c/d", "ab"):
        await store.put_bytes(b"", key, hash_bytes(b""))
    await store.remove(["a/", "none", "none/"])
    assert await listed(store) == ["ab"]
    await store.remove(["ab"])
    assert await listed(store) == []


async def test_fetching(store: LocalStore, tmp_path: Path) -> None:
    await store.put_bytes(b"text", "a", hash_bytes(b"text"))
    await store.fetch("a", tmp_path / "copy", 4)
    assert (tmp_path / "copy").read_bytes() == b"text"
    with pytest.raises(ObjectMissing, match="none"):
        await store.fetch("none", tmp_path / "other", 4)
    with pytest.raises(ObjectChanged, match="4 bytes, not 5"):
        await store.fetch("a", tmp_path / "other", 5)
    assert not (tmp_path / "other").exists()


async def test_no_key_leads_out(store: LocalStore) -> None:
    for key in ("../a", "/a", "a/../../b", ""):
        with pytest.raises(InvalidKey):
            await store.stat(key)


PREFIXES = ("", "a", "a/", "a/b", "ab", "b-", "b/a/", "none/")
NAMES = st.text("ab.-0\u00e9", min_size=1, max_size=3).filter(lambda name: name.strip("."))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12),
    prefix=st.sampled_from(PREFIXES),
)
async def test_lists_are_complete_and_in_order(
    keys: list[str], prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("root"))
    there: set[str] = set()
    for key in keys:
        if not any(f"{one}/".startswith(f"{key}/") or f"{key}/".startswith(f"{one}/") for one in there):
            await store.put_bytes(b"", key, hash_bytes(b""))
            there.add(key)
    expected = sorted((key for key in there if key.startswith(prefix)), key=os.fsencode)
    assert await listed(store, prefix) == expected


async def test_lists_come_in_pages(store: LocalStore) -> None:
    for number in range(base.PAGE + 1):
        write(Path(store.root, f"{number:04}"), "")
    assert [len(page) async for page in store.list()] == [base.PAGE, 1]

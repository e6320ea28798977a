"""Folders of this machine as stores."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inhaul.hashing import hash_bytes
from inhaul.stores.local import store as local
from inhaul.stores.local.store import LocalStore
from store_tests import Content, StoreTests


class TestLocalStore(StoreTests):
    module = local
    verified_by = "local"

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "root")

    @pytest.fixture
    def content(self, store: LocalStore) -> Content:
        return lambda key: Path(store.root, key).read_bytes()


async def test_a_key_that_a_user_chose_is_never_seen_half_written(tmp_path: Path) -> None:
    store, content = LocalStore(tmp_path / "root"), os.urandom(8 << 20)
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
    assert list(Path(store.root, ".inhaul").rglob("*")) == [Path(store.root, ".inhaul/temporary")]


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
    assert [one.key async for page in store.list(prefix) for one in page] == expected

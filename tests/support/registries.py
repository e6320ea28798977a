"""Checks that a registry and its storage are consistent, after any operations."""

import hashlib
import os
import sqlite3
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import update

from inhaul import Instance
from inhaul.db.tables import storage_mark

PART = 8 << 20
# Ids too: PostgreSQL does not reuse the id of a row that a killed process had begun to write.
UNIQUE_TO_A_RUN = ("id", "uid", "object_key", "created_at", "updated_at", "storage_id", "created_by_id")

Row = Mapping[str, Any]


def seeds(few: int, many: int) -> pytest.MarkDecorator:
    """Repeats a random test with different values of `seed`: a few times, or many if `SOAK` gives the first seed."""
    first = os.environ.get("SOAK")
    return pytest.mark.parametrize("seed", range(few) if first is None else range(int(first), int(first) + many))


def digest(path: Path) -> tuple[int, str, str]:
    """Returns size, hash and hash type of a file, by an independent implementation of the published rules."""
    content = path.read_bytes()
    if len(content) < PART:
        return len(content), _text(hashlib.md5(content).digest()), "md5"
    parts = [hashlib.md5(content[start : start + PART]).digest() for start in range(0, len(content), PART)]
    return len(content), _text(hashlib.md5(b"".join(parts)).digest()), f"md5-{len(parts)}"


def _text(binary: bytes) -> str:
    return urlsafe_b64encode(binary).decode().rstrip("=")


async def query(url: str, sql: str) -> list[Row]:
    """Returns the rows of a query, without using inhaul."""
    if urlsplit(url).scheme == "sqlite":
        file = url.removeprefix("sqlite:///")
        if not Path(file).exists():
            return []
        connection = sqlite3.connect(file)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()
    server = await asyncpg.connect(url, statement_cache_size=0)
    try:
        async with server.transaction():  # behind a pooler, only a transaction stays on one connection
            return [dict(row) for row in await server.fetch(sql)]
    finally:
        await server.close()


async def artifacts(url: str) -> list[Row]:
    """Returns all rows of artifacts in the order in which they were written; none if there is no table yet."""
    sqlite = urlsplit(url).scheme == "sqlite"
    tables = "SELECT name FROM sqlite_master" if sqlite else "SELECT tablename AS name FROM pg_tables"
    if {"name": "artifact"} not in await query(url, tables):
        return []
    return await query(url, "SELECT * FROM artifact ORDER BY id")


async def storing_since(instance: Instance, time: datetime) -> None:
    """Changes the time since when a registry owns its storages: older objects may belong to others."""
    async with instance.database.write() as conn:
        await conn.execute(update(storage_mark).values(made_at=time))


async def assert_consistent(url: str, root: Path, *, orphans: bool = False) -> dict[str, Row]:
    """Checks all rows against the objects, and all objects against the rows.

    Args:
        url: The database.
        root: The only storage that it has artifacts in.
        orphans: Whether objects without a row are allowed, as a crash leaves them until the next call.

    Returns:
        The latest rows by key.
    """
    if urlsplit(url).scheme == "sqlite" and Path(url.removeprefix("sqlite:///")).exists():
        assert await query(url, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert await query(url, "PRAGMA foreign_key_check") == []
    rows = await artifacts(url)

    referred = set()
    for row in rows:
        if row["object_key"] is None:
            assert not row["is_latest"], f"{row['key']}: the latest version has no object"
            continue
        path = root / row["object_key"]
        assert path.resolve().is_relative_to(root.resolve()), f"{row['object_key']} leads out of {root}"
        assert digest(path) == (row["size"], row["hash"], row["hash_type"]), f"{row['key']}: not what was hashed"
        referred.add(path)

    if not orphans:
        stored = {path for folder in root.glob(".inhaul/?") for path in folder.iterdir()}
        assert stored <= referred, "objects that no row refers to"
        assert list(root.glob(".inhaul/sessions/*")) == []

    latest = {row["key"]: row for row in rows if row["is_latest"]}
    assert len(latest) == sum(bool(row["is_latest"]) for row in rows), "two latest rows of one key"
    families = Counter(row["uid"][:16] for row in rows)
    assert len(families) == len(latest), "a family without a latest row"
    versioned = [(row["uid"][:16], row["version"]) for row in rows if families[row["uid"][:16]] > 1]
    assert len(set(versioned)) == len(versioned), "a version twice in one family"
    assert all(version for _, version in versioned), "a family of several without versions"
    return latest


async def assert_holds(url: str, root: Path, tree: Path) -> dict[str, Row]:
    """Checks that the registry is consistent and its latest rows are exactly the regular files of a folder."""
    latest = await assert_consistent(url, root)
    prefix = tree.relative_to(root if tree.is_relative_to(root) else tree.parent)
    files = {
        (prefix / path.relative_to(tree)).as_posix(): digest(path)
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and ".inhaul" not in path.parts
    }
    assert {key: (row["size"], row["hash"], row["hash_type"]) for key, row in latest.items()} == files
    return latest


async def rows_have_objects(url: str) -> list[Row]:
    """Checks that each row of an artifact has its object, and returns the rows."""
    rows = await query(url, "SELECT a.*, s.root FROM artifact a JOIN storage s ON s.id = a.storage_id ORDER BY a.id")
    for row in rows:
        assert Path(row["root"], row["object_key"]).stat().st_size == row["size"], row["key"]
    return rows


def comparable(rows: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    """Returns rows without the columns that differ in every run."""
    return {key: {name: row[name] for name in row if name not in UNIQUE_TO_A_RUN} for key, row in rows.items()}


def parsed(time: str | datetime) -> datetime:
    """Returns a time from its form in SQLite or PostgreSQL."""
    return datetime.fromisoformat(time) if isinstance(time, str) else time

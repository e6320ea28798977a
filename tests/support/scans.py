"""Helpers for tests of the scanner."""

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from inhaul._core import Batch, Root, Scanner

PART = 8 * 1024 * 1024
Known = tuple[int, str, str, int, str, str, int, str]


def md5(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.md5(data).digest()).rstrip(b"=").decode()


def scanner(root: Path | bytes, destination: Path | None = None, **options: Any) -> Scanner:
    defaults: dict[str, Any] = {
        "key_prefix": "",
        "in_place": False,
        "uploads": False,
        "salt": b"salt",
        "overwrite": False,
        "exclude": [],
        "follow_symlinks": False,
        "threads": 2,
    }
    return Scanner(root, destination=Root(destination) if destination else None, **(defaults | options))


def drain(scan: Scanner, known: Callable[[list[str]], Sequence[Known]] = lambda keys: []) -> list[Batch]:
    """Returns all batches, while another thread submits the listings."""

    def submit() -> None:
        with suppress(RuntimeError):  # the scan was stopped, which the caller also sees
            while (listing := scan.next_listing()) is not None:
                scan.submit(listing, known(json.loads(listing.keys_json())))

    submitter = threading.Thread(target=submit)
    submitter.start()
    batches = []
    try:
        while (batch := scan.next_batch()) is not None:
            batches.append(batch)
    finally:
        submitter.join()
        scan.close()
    return batches


def rows(batches: Sequence[Batch]) -> list[tuple[Any, ...]]:
    return [batch.row(i) for batch in batches for i in range(len(batch))]


def issues(batches: Sequence[Batch]) -> dict[str, str]:
    return {os.fsdecode(path): reason for batch in batches for path, reason, _, _ in batch.issues}


def known_from(batches: Sequence[Batch]) -> Callable[[list[str]], Sequence[Known]]:
    """Returns the rows that a registry has after these batches."""
    stored = {row[1]: row for row in rows(batches)}

    def known(wanted: list[str]) -> Sequence[Known]:
        found = [(n, stored[key]) for n, key in enumerate(wanted) if key in stored]
        return [(n, row[3], row[3], row[7], row[8], row[9], 0, json.dumps({"uid": row[3]})) for n, row in found]

    return known


def fill(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def objects(store: Path) -> list[str]:
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


def object_bytes(store: Path, row: tuple[Any, ...]) -> bytes:
    return (store / str(row[4])).read_bytes()

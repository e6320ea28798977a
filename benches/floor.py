"""The floor: what reading a folder and inserting its rows costs when nothing else is done.

`python benches/floor.py FOLDER DATABASE` walks the folder and opens, reads and closes every file
(`floor.rs`, no hashing). Then it inserts as many rows with `sqlite3.executemany` into the table that inhaul
uses, with its indexes. It prints the seconds of both parts, as JSON.
"""

import json
import random
import sqlite3
import string
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine

from inhaul.db import tables

THREADS = 2
ROWS_PER_TRANSACTION = 32_768
PRAGMAS = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 16384;
"""
EXAMPLES = Path(__file__).parents[1] / "target" / "release" / "examples"

Row = tuple[object, ...]


def read(folder: Path) -> tuple[int, float]:
    """Returns the number of files, and the seconds that reading them takes."""
    output = subprocess.check_output([EXAMPLES / "floor", folder, str(THREADS)], text=True)
    files, _, seconds = output.split()
    return int(files), float(seconds)


def rows(folder: Path) -> list[Row]:
    """Returns a row for each file, in path order. Uid and hash are random."""
    rng = random.Random(1)
    base62 = string.digits + string.ascii_letters
    base64 = base62 + "-_"
    now = "2026-01-01 00:00:00.000000"
    known = {
        "is_latest": 1,
        "storage_id": 1,
        "key_is_virtual": 0,
        "suffix": ".csv",
        "accessor": "DataFrame",
        "hash_type": "md5",
        "verified_by": "local",
        "visibility": 0,
        "created_by_id": 1,
        "created_at": now,
        "updated_at": now,
    }

    result = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        key = path.relative_to(folder.parent).as_posix()
        row = known | {
            "uid": "".join(rng.choices(base62, k=16)) + "0000",
            "key": key,
            "object_key": key,
            "size": path.stat().st_size,
            "hash": "".join(rng.choices(base64, k=22)),
        }
        result.append(tuple(row.get(column.name) for column in tables.artifact.columns))
    return result


def insert(rows: list[Row], database: Path) -> float:
    """Returns the seconds that the inserts take."""
    engine = create_engine(f"sqlite:///{database}")
    tables.metadata.create_all(engine)
    engine.dispose()

    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript(PRAGMAS)
    statement = f"INSERT INTO artifact VALUES ({','.join('?' * len(tables.artifact.columns))})"  # noqa: S608
    start = time.perf_counter()
    for first in range(0, len(rows), ROWS_PER_TRANSACTION):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows[first : first + ROWS_PER_TRANSACTION])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def main(folder: Path, database: Path) -> None:
    """Runs both parts."""
    files, reading = read(folder)
    inserting = insert(rows(folder), database)
    print(json.dumps({"files": files, "seconds": reading + inserting, "read": reading, "insert": inserting}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

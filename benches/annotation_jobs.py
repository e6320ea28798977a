"""What the contestants of `bench_annotation.py` do: `python annotation_jobs.py NAME ARTIFACTS WORK` prints figures."""

import asyncio
import json
import sqlite3
import sys
import time
from pathlib import Path

from sqlalchemy import event

import inhaul
from inhaul import Artifact, Feature, ULabel, annotate

KINDS, DIFFERENT = 5, 100


def values(number: int) -> dict[str, float]:
    """Returns the values for the artifact with this number."""
    return {f"feature{kind}": float(number * (kind + 1) % DIFFERENT) for kind in range(KINDS)}


async def annotated(folder: Path, work: Path) -> dict[str, float]:
    """Annotates with inhaul."""
    async with inhaul.connect(work, f"sqlite:///{work}/registry.db") as instance:
        await inhaul.ingest(folder)
        await inhaul.save([Feature(name, "float") for name in values(0)])
        labels = [ULabel(f"label{kind}") for kind in range(KINDS)]
        await inhaul.save(labels)
        artifacts = await Artifact.filter().all()
        async with instance.database.read() as conn:
            trips: list[str] = []
            event.listen(conn.engine.sync_engine, "before_cursor_execute", lambda *call: trips.append(call[2]))
        start = time.perf_counter()
        await annotate(artifacts, [values(number) for number in range(len(artifacts))], labels)
        seconds, count = time.perf_counter() - start, len(trips)
        queries = []
        for value in range(20):
            start = time.perf_counter()
            found = await Artifact.features.filter(feature2=float(3 * value)).all()
            queries.append(time.perf_counter() - start)
            assert len(found) == sum(values(number)["feature2"] == 3 * value for number in range(len(artifacts)))
    return {"seconds": seconds, "trips": count / len(artifacts) * 1000, "query": sorted(queries)[len(queries) // 2]}


def plain(folder: Path, work: Path) -> dict[str, float]:
    """Inserts as many rows into tables with the same keys: 1,000 artifacts in each transaction."""
    count = sum(path.is_file() for path in folder.rglob("*"))
    database = sqlite3.connect(work / "plain.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE value (id INTEGER PRIMARY KEY, feature INT, number REAL, UNIQUE (feature, number));"
        "CREATE TABLE with_value (artifact INT, value INT, PRIMARY KEY (artifact, value)) WITHOUT ROWID;"
        "CREATE TABLE with_label (artifact INT, label INT, PRIMARY KEY (artifact, label)) WITHOUT ROWID;"
    )
    rows = [[(kind, number) for kind, number in enumerate(values(artifact).values())] for artifact in range(count)]
    start = time.perf_counter()
    for first in range(0, count, 1000):
        part = range(first, min(first + 1000, count))
        database.execute("BEGIN IMMEDIATE")
        given = {row for artifact in part for row in rows[artifact]}
        database.executemany("INSERT OR IGNORE INTO value (feature, number) VALUES (?, ?)", given)
        database.executemany(
            "INSERT INTO with_value SELECT ?, id FROM value WHERE feature = ? AND number = ?",
            [(artifact, *row) for artifact in part for row in rows[artifact]],
        )
        links = [(artifact, label) for artifact in part for label in range(KINDS)]
        database.executemany("INSERT INTO with_label VALUES (?, ?)", links)
        database.execute("COMMIT")
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    name, folder, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(asyncio.run(annotated(folder, work)) if name == "inhaul" else plain(folder, work)))

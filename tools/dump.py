"""Writes the dump of the newest database, `tests/golden/<revision>.sql`, by migrating the one before."""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

import inhaul
from inhaul.db.schema import REVISION

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


async def main() -> None:
    """Migrates the newest dump, and writes the result."""
    newest = max(GOLDEN.glob("*.sql"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.db"
        database = sqlite3.connect(path)
        database.executescript(newest.read_text())
        async with (
            inhaul.connect(Path(folder) / "storage", f"sqlite:///{path}") as instance,
            instance.database.write(),  # the first write migrates
        ):
            pass
        (GOLDEN / f"{REVISION}.sql").write_text("\n".join(database.iterdump()) + "\n")
        database.close()


if __name__ == "__main__":
    asyncio.run(main())

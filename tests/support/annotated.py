"""Artifacts and features for tests of annotation."""

from datetime import UTC, datetime
from pathlib import Path

from inhaul import Artifact, Feature

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


async def plates(folder: Path) -> list[Artifact]:
    """Creates a folder, and returns its four saved artifacts."""
    (folder / "plates").mkdir()
    for number in range(4):
        (folder / "plates" / f"{number}.txt").write_text(str(number))
    return list(await Artifact.from_dir(folder / "plates").save())


async def features(**dtype_of: str) -> dict[str, Feature]:
    return {name: await Feature(name, dtype).save() for name, dtype in dtype_of.items()}

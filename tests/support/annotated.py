"""Features for tests of annotation."""

from datetime import UTC, datetime

from inhaul import Feature

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


async def features(**dtype_of: str) -> dict[str, Feature]:
    return {name: await Feature(name, dtype).save() for name, dtype in dtype_of.items()}

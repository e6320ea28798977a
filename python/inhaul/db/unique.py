"""Rows that are inserted when they are first needed."""

from datetime import UTC, datetime

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import insert_into
from inhaul.keys import new_uid


async def ensure(conn: AsyncConnection, table: Table, column: str, value: str, **others: object) -> int:
    """Returns the id of the row with this value in a unique column, and inserts the row if it is missing."""
    query = select(table.c.id).where(table.c[column] == value)
    found = (await conn.execute(query)).scalar()
    if found is None:
        now = datetime.now(UTC)
        row = {"uid": new_uid(), column: value, "created_at": now, "updated_at": now, **others}
        await conn.execute(
            insert_into(table, conn.dialect.name).values(row).on_conflict_do_nothing(index_elements=[column])
        )
        found = (await conn.execute(query)).scalar_one()
    return int(found)

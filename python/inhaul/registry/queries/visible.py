"""Records that queries show or hide, and that have a trash."""

from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import families
from inhaul.registry.model.rows import table_of
from inhaul.registry.model.visibility import Visibility, shown
from inhaul.registry.queries.query_set import QuerySet
from inhaul.registry.queries.registry import Registry


class HasVisibility(Registry):
    """A record that queries can leave out, and that can be moved into the trash."""

    _visibility: int

    @property
    def visibility(self) -> Visibility:
        """The visibility: whether queries show the record."""
        return Visibility(self._visibility)

    @visibility.setter
    def visibility(self, value: int) -> None:
        self._visibility = Visibility(value)

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Returns the records that meet all lookups, `field__op=value`.

        Without a lookup by visibility, id or uid, it returns only records with the default visibility.
        `visibility=None` includes all.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
        """
        found: QuerySet[Self] = cls._world["QuerySet"](cls)
        return found.filter(**shown(lookups))

    async def _follow_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> dict[str, Any]:
        if "visibility" not in values:
            return {}
        table = table_of(self)
        await families.choose_latest(conn, [self._uid], table)
        return {"is_latest": await conn.scalar(select(table.c.is_latest).where(table.c.id == self._id))}

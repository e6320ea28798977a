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
    """A record that can be hidden from queries, and moved into the trash."""

    _visibility: int

    @property
    def visibility(self) -> Visibility:
        """Whether queries show the record. `save()` writes a new value. Values that `Visibility` lacks are refused.

        Raises:
            ValueError: The assigned value is not a visibility.
        """
        return Visibility(self._visibility)

    @visibility.setter
    def visibility(self, value: int) -> None:
        self._visibility = Visibility(value)

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Selects the records that meet all lookups, `field=value` or `field__op=value`.

        Without a lookup by visibility, id or uid, only records with the default visibility are selected.
        `visibility=None` selects records of every visibility.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError, ValueError, WrongWorld: A value does not fit its field; see `QuerySet.filter`.
        """
        found: QuerySet[Self] = cls._world["QuerySet"](cls)
        return found.filter(**shown(lookups))

    async def _follow_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> dict[str, Any]:
        if "visibility" not in values:
            return {}
        table = table_of(self)
        await families.choose_latest(conn, [self._uid], table)
        return {"is_latest": await conn.scalar(select(table.c.is_latest).where(table.c.id == self._id))}

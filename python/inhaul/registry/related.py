"""Many-to-many relations of a record."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sqlalchemy import Table, delete, select

from inhaul.db.bulk import insert_into
from inhaul.registry.base import Registry, check_world

if TYPE_CHECKING:
    import pandas as pd

    from inhaul.registry.query import QuerySet
    from inhaul.registry.world import World

R = TypeVar("R", bound=Registry)


class Related(Generic[R]):
    """The records that one record is linked with through a table."""

    _world: ClassVar["World"]

    def __init__(self, record: Registry, link: Table, registry: type[R]) -> None:
        self._record = record
        self._link = link
        self._registry = registry
        self._own, self._other = link.primary_key.columns

    def _query(self) -> "QuerySet[R]":
        linked = select(self._other).where(self._own == self._record.id)
        among: Any = self._registry._id
        query: QuerySet[R] = self._world["QuerySet"](self._registry, (among.in_(linked),), instance=self._record._home)
        return query

    def filter(self, **lookups: Any) -> "QuerySet[R]":
        """Those linked that meet the lookups."""
        return self._query().filter(**lookups)

    async def all(self) -> list[R]:
        """All that are linked."""
        return await self._query()._all()

    async def df(self) -> "pd.DataFrame":
        """All columns of those linked, as a table indexed by id."""
        return await self._query()._df()

    async def add(self, *records: R) -> None:
        """Links saved records; those linked already stay so."""
        check_world(self._record, *records)
        await self._add(records)

    async def _add(self, records: Iterable[R]) -> None:
        rows = [{self._own.name: self._record.id, self._other.name: other.id} for other in records]
        if rows:
            async with self._record._home.database.write() as conn:
                insert = insert_into(self._link, conn.dialect.name)
                await conn.execute(insert.on_conflict_do_nothing(), rows)

    async def remove(self, *records: R) -> None:
        """Unlinks records; those not linked are no error."""
        check_world(self._record, *records)
        ids = [other.id for other in records]
        async with self._record._home.database.write() as conn:
            await conn.execute(delete(self._link).where(self._own == self._record.id, self._other.in_(ids)))


def related(link: Table, name: str) -> property:
    """A property that gives the records of the named registry linked through a table."""

    def get(record: Registry) -> Related[Any]:
        return record._world["Related"](record, link, record._world[name])  # type: ignore[no-any-return]

    return property(get, doc=f"The `{name}` records linked through `{link.name}`.")

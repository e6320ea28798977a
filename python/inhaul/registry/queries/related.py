"""Many-to-many relations of a record."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from sqlalchemy import Column, Select, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import insert_into
from inhaul.db.membership import is_in
from inhaul.errors import NoResultFound
from inhaul.instance import Instance
from inhaul.registry.model.base import Record
from inhaul.registry.model.world import check_record

if TYPE_CHECKING:
    import pandas as pd

    from inhaul.registry.model.world import World
    from inhaul.registry.queries.query_set import QuerySet

R = TypeVar("R", bound=Record)


class ManyToMany:
    """A field of the records that are linked through a table.

    Args:
        link: The table; its first two references are to this record and to the other one.
        registry: The name of the other records' class.
        reverse: The table's first reference is to the other record.
        manager: The name of the class that reads and writes the links.
    """

    def __init__(self, link: Table, registry: str, *, reverse: bool = False, manager: str = "Related") -> None:
        references = [column for column in link.columns if column.foreign_keys][:2]
        self.own: Column[Any] = references[1 if reverse else 0]
        self.other: Column[Any] = references[0 if reverse else 1]
        self.link = link
        self.registry = registry
        self._manager = manager

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...
    @overload
    def __get__(self, record: Record, owner: type) -> "Related[Any]": ...
    def __get__(self, record: Record | None, owner: type) -> "Self | Related[Any]":
        if record is None:
            return self
        manager: Related[Any] = record._world[self._manager](record, self)
        return manager

    def __set__(self, record: Record, value: object) -> None:
        raise AttributeError("The links of a record cannot be assigned: use add() and remove()")


class Related(Generic[R]):
    """The records that are linked with one record, including hidden ones and those in the trash."""

    _world: ClassVar["World"]

    def __init__(self, record: Record, relation: ManyToMany) -> None:
        self._record = record
        self._link = relation.link
        self._registry: type[R] = record._world[relation.registry]
        self._own = relation.own
        self._other = relation.other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._registry.__name__} of {self._record!r})"

    def _linked(self) -> Select[tuple[int]]:
        return select(self._other).where(self._own == self._record._id).correlate(None)

    def _query(self) -> "QuerySet[R]":
        among: Any = self._registry._id
        conditions = (among.in_(self._linked()),)
        query: QuerySet[R] = self._world["QuerySet"](self._registry, conditions, instance=self._record._home)
        return query

    def filter(self, **lookups: Any) -> "QuerySet[R]":
        """Selects the linked records that meet the lookups; see `QuerySet.filter`, also for the errors."""
        return self._query().filter(**lookups)

    async def all(self) -> list[R]:
        """Returns all linked records."""
        return await self._query()._all()

    async def df(self) -> "pd.DataFrame":
        """Returns all columns of the linked records as a table indexed by id."""
        return await self._query()._df()

    async def add(self, *records: R) -> None:
        """Links saved records. Records that are linked already stay linked.

        Raises:
            TypeError: An item is not a record of this kind.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance; or a label would be above itself.
            NoResultFound: A record has been deleted.
        """
        await self._add(records)

    async def _add(self, records: Iterable[R]) -> None:
        rows = [self._row(record) for record in records]
        if rows:
            try:
                async with self._record._home.database.write() as conn:
                    await self._insert(conn, rows)
            except NoResultFound as error:
                raise NoResultFound(f"{self._record!r}, or what it should be linked with, has been deleted") from error

    async def _insert(self, conn: AsyncConnection, rows: list[dict[str, Any]]) -> None:
        await conn.execute(insert_into(self._link, conn.dialect.name).on_conflict_do_nothing(), rows)

    def _row(self, other: R) -> dict[str, Any]:
        own = id_in(self._record._home, self._record, type(self._record))
        return {self._own.name: own, self._other.name: self._id_of(other)}

    def _id_of(self, other: R) -> int:
        return id_in(self._record._home, other, self._registry)

    async def remove(self, *records: R) -> None:
        """Unlinks records. Records that are not linked are ignored.

        Raises:
            TypeError: An item is not a record of this kind.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance.
        """
        ids = [self._id_of(record) for record in records]
        async with self._record._home.database.write() as conn:
            await conn.execute(delete(self._link).where(self._own == self._record._id, is_in(self._other, ids)))


class Fixed(Related[R]):
    """The members of a record. They cannot change: to have other members, create a new record."""

    async def add(self, *records: R) -> None:
        """Not supported.

        Raises:
            TypeError: Always.
        """
        self._refuse()

    async def remove(self, *records: R) -> None:
        """Not supported.

        Raises:
            TypeError: Always.
        """
        self._refuse()

    def _refuse(self) -> None:
        made = type(self._record).__name__
        raise TypeError(f"{self._record!r} is made of what it has: make another {made}, or another version, of others")


def id_in(instance: Instance, record: Any, registry: type[Record]) -> int:
    """Returns the id of a record to link with others of an instance.

    Args:
        instance: The instance of the others.
        record: The value that a user passed.
        registry: The expected class.

    Raises:
        TypeError: It is not a record of the registry.
        WrongWorld: It belongs to the other API.
        ValueError: It is not saved, or in another instance.
    """
    check_record(registry._world, "record", record, registry.__name__)
    if record._id is None:
        raise ValueError(f"{record!r} is not saved, so nothing can be linked with it: save it first")
    record._check_home(instance)
    return record._id  # type: ignore[no-any-return]

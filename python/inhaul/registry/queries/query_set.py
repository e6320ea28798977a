"""Query sets: lazy, immutable descriptions of a query. Only their verbs ask the database."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from sqlalchemy import JSON, ColumnElement, Select, case, func, inspect, or_, select
from sqlalchemy.ext import serializer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from inhaul.arguments import check_flag
from inhaul.db.tables import metadata
from inhaul.errors import MultipleResultsFound, NoResultFound, UnknownField
from inhaul.formats import tables
from inhaul.instance import Instance, current
from inhaul.registry.model import dtypes
from inhaul.registry.queries.include import included
from inhaul.registry.queries.lookups import condition, lowered
from inhaul.registry.queries.value_lookups import check_lookups
from inhaul.texts import check_text

if TYPE_CHECKING:
    import pandas as pd

    from inhaul.registry.model.world import World

R = TypeVar("R")

_SEARCHED = ("name", "key", "handle", "root", "description")

_WORDS = 100  # of a search: databases limit how deep conditions are nested

_CHUNK = 1000  # records that `async for` holds at a time


def _received(cls: type["QuerySet[R]"], registry: type[R], terms: bytes, *rest: Any) -> "QuerySet[R]":
    """Returns a query set from another process."""
    conditions, order = serializer.loads(terms, metadata)  # type: ignore[no-untyped-call]
    return cls(registry, conditions, order, *rest)


class QuerySet(Generic[R]):
    """Records of one registry that meet some conditions, in the order of their ids unless `order_by` sets another.

    `filter`, `search` and `objects` create it. `filter`, `order_by`, `limit`, `latest_version`, `search` and slices
    return a new query set, and do not access the database.
    """

    _world: ClassVar["World"]

    def __init__(
        self,
        registry: type[R],
        conditions: tuple[ColumnElement[bool], ...] = (),
        order: tuple[str | ColumnElement[Any], ...] = (),
        window: tuple[int, int | None] = (0, None),
        features: Mapping[str, Any] | None = None,
        instance: Instance | None = None,
    ) -> None:
        self._registry = registry
        self._conditions = conditions
        self._order = order
        self._window = window
        self._features = features or {}  # the values to compare with, by lookup of a feature
        self._instance = instance or current()

    def __repr__(self) -> str:
        terms = [str(term.compile(compile_kwargs={"literal_binds": False})) for term in self._conditions]
        return f"QuerySet({self._registry.__name__}: {' AND '.join(terms) or 'all'})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the query for another process, without any records."""
        terms = serializer.dumps((self._conditions, self._order))  # type: ignore[no-untyped-call]
        return _received, (type(self), self._registry, terms, self._window, dict(self._features), self._instance)

    def __bool__(self) -> bool:
        raise TypeError("A query set is neither true nor false, as it has asked nothing yet: use exists()")

    def filter(self, **lookups: Any) -> Self:
        """Selects the records that also meet these lookups.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError: The query set is a slice, or a value does not have the type of its field.
            ValueError: No database can store a value; or a record is not saved, or belongs to another instance; or
                `range` does not get two values.
            WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse.
        """
        self._check_whole()
        more = tuple(condition(self._registry, name, value, self._instance) for name, value in lookups.items())
        return self._with(conditions=self._conditions + more)

    def order_by(self, *fields: str) -> Self:
        """Orders the records by these fields, instead of any earlier order. A minus before a name: descending.

        Records with equal values are ordered by id.

        Raises:
            UnknownField: A name is not a field.
            TypeError: The query set is a slice, or a field has no order.
        """
        self._check_whole()
        columns = inspect(self._registry).columns
        for field in fields:
            check_text("order_by", field, optional=False)
            if f"_{field.removeprefix('-')}" not in columns:
                known = ", ".join(sorted(key.removeprefix("_") for key in columns.keys()))  # noqa: SIM118
                raise UnknownField(f"{self._registry.__name__} has no field {field!r} to order by. It has {known}")
            if isinstance(columns[f"_{field.removeprefix('-')}"].type, JSON):
                raise TypeError(f"{field!r} is JSON, which has no order")
        return self._with(order=fields)

    def limit(self, count: int) -> Self:
        """Selects the first `count` records.

        Raises:
            TypeError: The count is not an int.
            ValueError: The count is negative, or 2**63 or more.
        """
        return self[:count]

    def latest_version(self) -> Self:
        """Selects the records that are the latest of their family.

        Raises:
            UnknownField: Records of this registry have no versions.
            TypeError: The query set is a slice.
        """
        return self.filter(is_latest=True)

    def __getitem__(self, part: slice) -> Self:
        if not isinstance(part, slice):
            raise TypeError("A query set has slices only; for one record use one() of a slice of one")
        start, stop = dtypes.plain(part.start), dtypes.plain(part.stop)
        for bound in (start, stop):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool)):
                raise TypeError(f"{bound!r} is not a number of records: pass an int")
            if bound is not None and bound >= 2**63:
                raise ValueError(f"{bound} is more than any database holds")
        start = start or 0
        if part.step is not None or start < 0 or (stop is not None and stop < 0):
            raise ValueError(f"{part}: a query set has slices of positive numbers without a step")
        offset, length = self._window
        left = [length - start] if length is not None else []
        left += [stop - start] if stop is not None else []
        return self._with(window=(offset + start, max(0, min(left)) if left else None))

    def search(self, text: str) -> Self:
        """Selects the records that contain all words of a text; see `Artifact.search`.

        Raises:
            TypeError: The query set is a slice, `text` is not a text, or these records have no text to search.
            ValueError: The text holds a character that no database can store, or more than 100 words.
        """
        return self._search(text)

    def _search(self, text: str) -> Self:
        self._check_whole()
        if text is None:
            raise TypeError("search(None): pass a text")
        check_text("search", text)
        words = text.split()
        if len(words) > _WORDS:
            raise ValueError(f"search() takes up to {_WORDS} words, and this text has {len(words):,}")
        known = inspect(self._registry).columns
        names = [name for name in _SEARCHED if f"_{name}" in known]
        if not names:
            raise TypeError(f"A {self._registry.__name__} has no text to search: use filter()")
        found = [
            or_(*(condition(self._registry, f"{name}__icontains", word, self._instance) for name in names))
            for word in words
        ]
        columns = [lowered(getattr(self._registry, f"_{name}")) for name in names]
        ranks = [(column == lowered(text), 0) for column in columns]
        ranks += [(func.substr(column, 1, len(text)) == lowered(text), 1) for column in columns]
        return self._with(conditions=(*self._conditions, *found), order=(case(*ranks, else_=2), *self._order))

    async def _named(self, field: str, names: Sequence[str]) -> list[R]:
        return await self.filter(**{f"{field}__in": names})._all()

    async def all(self) -> list[R]:
        """Returns all records."""
        return await self._all()

    async def _all(self) -> list[R]:
        async with self._reading() as conn, AsyncSession(conn, expire_on_commit=False) as session:
            return self._owned(await session.scalars(self._select()))

    async def one(self) -> R:
        """Returns the only record.

        Raises:
            NoResultFound: There is no record.
            MultipleResultsFound: There are several.
        """
        found = await self._one_or_none()
        if found is None:
            raise NoResultFound(f"No record matches {self!r}")
        return found

    async def one_or_none(self) -> R | None:
        """Returns the only record, or None if there is none.

        Raises:
            MultipleResultsFound: There are several.
        """
        return await self._one_or_none()

    async def _one_or_none(self) -> R | None:
        found = await self._first(2)
        if len(found) > 1:
            raise MultipleResultsFound(f"Several records match {self!r}: use first(), all(), or a narrower filter")
        return found[0] if found else None

    async def first(self) -> R | None:
        """Returns the first record, or None if there is none."""
        return await self._first_one()

    async def _first_one(self) -> R | None:
        return next(iter(await self._first(1)), None)

    async def _first(self, count: int) -> list[R]:
        async with self._reading() as conn, AsyncSession(conn, expire_on_commit=False) as session:
            return self._owned(await session.scalars(self[:count]._select()))

    async def count(self) -> int:
        """Returns the number of records."""
        async with self._reading() as conn:
            query = select(func.count()).select_from(self._ids().subquery())
            return int((await conn.execute(query)).scalar_one())

    async def exists(self) -> bool:
        """Returns True if there is at least one record."""
        async with self._reading() as conn:
            return (await conn.execute(self[:1]._ids())).first() is not None

    async def delete(self, permanent: bool | None = None, storage: bool | None = None) -> None:
        """Deletes all records, as their own `delete()` does, in a few statements per 10,000.

        The conditions of the errors below are checked before anything is deleted. If another error occurs, or another
        process changes the records meanwhile, the records that are deleted by then stay deleted.

        Args:
            permanent: True deletes permanently. False moves artifacts and collections into the trash. None moves them
                into the trash, and permanently deletes those that are in the trash already. Other records have no
                trash: they are always deleted permanently.
            storage: Whether the objects of permanently deleted artifacts are removed; see `Artifact.delete`.

        Raises:
            TypeError: An argument is not True, False or None.
            ValueError: `permanent` is False, but these records have no trash; or `storage` is given, but they are not
                artifacts.
            InUse: Other records use one of them, or the instance needs one for its next writes.
            ObjectShared: An object to remove is, contains or lies in the object of another artifact.
            LinkRefused: There is a link in the path of an object to remove.
            StorageShared: A copy of the registry may refer to the objects to remove, and `storage` is None.
            WrongStorage: The objects to remove are at a root that is not, or no longer, this registry's storage.
        """
        check_flag("permanent", permanent, optional=True)
        check_flag("storage", storage, optional=True)
        async with self._reading() as conn:
            ids = list(await conn.scalars(self._ids()))
        registry: Any = self._registry
        await registry._delete_all(self._instance, ids, permanent, storage)

    async def df(self, include: str | Sequence[str] = ()) -> "pd.DataFrame":
        """Returns all columns as a table indexed by id.

        Args:
            include: Columns of related records to add, such as `created_by__handle`, `run__transform__name`, or
                `ulabels` for the names of the labels. If a record can have several related records, a cell is a list.

        Raises:
            UnknownField: A name is not a field.
            TypeError: A name is not a text.
        """
        return await self._df([include] if isinstance(include, str) else include)

    async def _df(self, include: Sequence[str] = ()) -> "pd.DataFrame":
        for path in include:
            check_text("include", path, optional=False)
        table = inspect(self._registry).local_table
        more = {path: included(self._registry, path) for path in include if path not in table.c}
        query = select(table).where(table.c.id.in_(self._ids())).order_by(*self._columns())
        among: Any = self._registry._id  # type: ignore[attr-defined]
        async with self._reading() as conn:
            rows = [(*row,) for row in await conn.execute(query)]
            ids = [row[0] for row in rows]
            for query, several in more.values():
                found: dict[int, list[Any]] = defaultdict(list)
                for id, value in await conn.execute(query.where(among.in_(self._ids()))):
                    found[id].append(value)
                cells = [found[id] if several else next(iter(found[id]), None) for id in ids]
                rows = [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
        return await asyncio.to_thread(tables.frame, rows, [*table.c.keys(), *more], index="id")

    async def __aiter__(self) -> AsyncIterator[R]:
        """Yields the records as they are when the iteration starts. Later writes have no effect.

        It holds 1,000 records at a time.
        """
        async with self._reading(lasting=True) as conn, AsyncSession(conn, expire_on_commit=False) as session:
            records = await session.stream_scalars(self._select().execution_options(yield_per=_CHUNK))
            async for chunk in records.partitions():
                for record in self._owned(chunk):
                    session.expunge(record)  # it is the caller's, also after the session's end
                    yield record

    async def _artifact_ids(self) -> list[int]:
        if self._registry is not self._world["Artifact"]:
            raise TypeError(f"{self!r} finds no artifacts")
        async with self._reading() as conn:
            return [*(await conn.scalars(self._ids()))]

    @asynccontextmanager
    async def _reading(self, *, lasting: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._instance.database.read(lasting=lasting) as conn:
            if self._features:
                await check_lookups(conn, self._world, self._features)
            yield conn

    def _check_whole(self) -> None:
        """Raises if this is a slice: its records depend on its conditions and order, which cannot change afterwards."""
        if self._window != (0, None):
            raise TypeError("A slice cannot be filtered, ordered or searched: do that first, then slice")

    def _with(self, **changes: Any) -> Self:
        same = {
            "conditions": self._conditions,
            "order": self._order,
            "window": self._window,
            "features": self._features,
        }
        return type(self)(self._registry, **(same | changes), instance=self._instance)

    def _owned(self, records: Iterable[R]) -> list[R]:
        """Makes records belong to the instance they were loaded from."""
        owned = list(records)
        for record in owned:
            record._instance = self._instance  # type: ignore[attr-defined]
        return owned

    def _columns(self) -> list[Any]:
        columns: list[Any] = []
        for field in (*self._order, "id"):
            if not isinstance(field, str):
                columns.append(field)
                continue
            column = getattr(self._registry, f"_{field.removeprefix('-')}")
            columns.append(column.desc() if field.startswith("-") else column)
        return columns

    def _bounded(self, query: Select[Any]) -> Select[Any]:
        offset, length = self._window
        return query.where(*self._conditions).order_by(*self._columns()).offset(offset or None).limit(length)

    def _select(self) -> Select[Any]:
        return self._bounded(select(self._registry))

    def _ids(self) -> Select[tuple[int]]:
        return self._bounded(select(self._registry._id))  # type: ignore[attr-defined]

"""The base class of all records."""

import asyncio
import html
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sqlalchemy import inspect, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import configure_mappers

from inhaul.db.engine import Outcome
from inhaul.errors import KeyExists, NoResultFound
from inhaul.instance import Instance, current
from inhaul.keys import new_uid
from inhaul.registry.model import named
from inhaul.registry.model.fields import Field, set_row
from inhaul.registry.model.rows import (
    changes,
    columns,
    found,
    inserted,
    no_clash,
    note_doubt,
    table_of,
    take,
    with_related,
)
from inhaul.registry.model.uses import delete_records

if TYPE_CHECKING:
    from inhaul.registry.model.world import World


def _received(cls: type["Record"], instance: Instance, row: Mapping[str, Any], edits: Mapping[str, Any]) -> "Record":
    """Returns a record from another process."""
    configure_mappers()  # this may be the first record of this process
    record: Record = inspect(cls).class_manager.new_instance()
    set_row(record, row)
    record._instance = instance
    for name, value in edits.items():
        setattr(record, f"_{name}", value)
    return record


class Record:
    """An object that has a row in a registry, or gets one when it is saved.

    Records are equal if they have the same class and the same uid. Saving does not change the hash of a record, so a
    set may hold unsaved records. If such a record becomes an existing record or a new version, the set finds this
    object, but not other objects that are equal to it.
    """

    _world: ClassVar["World"]
    _is_staged: bool = True
    _is_deleted: bool = False
    _instance: Instance | None = None
    _saving: asyncio.Lock | None = None
    _hashed: int | None = None
    _next_uid: str | None = None
    _sent: Mapping[str, Any] | None = None  # its columns as sent, while the outcome of the COMMIT is unknown
    _naming: ClassVar[str | None] = None  # the field that names a record
    _known_by: ClassVar[str | None] = None  # the field that identifies an existing record
    _details: ClassVar[tuple[str, ...]] = ()  # the other fields that users set on such a record
    _id: int | None
    _uid: str
    _created_at: datetime
    _updated_at: datetime

    id = Field[int]()
    uid = Field[str]()
    created_at = Field[datetime]()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        same: Record = other
        return self is same or (self._uid is not None and self._uid == same._uid)

    def __hash__(self) -> int:
        if self._hashed is None:
            if self._uid is None:
                self._next_uid = self._first_uid()
            self._hashed = hash(self._uid or self._next_uid)
        return self._hashed

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uid={self._uid!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles a saved record for another process: its row, its unsaved changes, and the address of its instance."""
        if self._id is None:
            raise TypeError(f"{self!r} is not saved, so no other process can find it: save it before you send it there")
        state = inspect(self)
        row = columns(self) | {name.removeprefix("_"): value for name, value in state.committed_state.items()}
        related = {name: state.dict[name] for name in state.mapper.relationships.keys() if name in state.dict}  # noqa: SIM118
        whole = row | {name.removeprefix("_"): value for name, value in related.items()}
        return _received, (type(self), self._home, whole, changes(self))

    def _repr_html_(self) -> str:
        """Returns the known columns as an HTML table for notebooks."""
        state = inspect(self)
        rows = [(name.removeprefix("_"), state.dict.get(name)) for name in state.mapper.column_attrs.keys()]  # noqa: SIM118
        cells = [
            f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in rows if value is not None
        ]
        return f"<table><caption>{type(self).__name__}</caption>{''.join(cells)}</table>"

    async def save(self) -> Self:
        """Inserts a new record, or writes the changed fields of a saved one.

        A new user, storage, transform, feature or label becomes the registered record if its name (the root of a
        storage) is registered.

        Raises:
            ValueError: The name is registered, but another field that you gave differs.
            KeyExists: Another record has the new name of a saved record.
            NoResultFound: The record was deleted.
        """
        await self._save(self._home)
        return self

    async def delete(self) -> None:
        """Permanently deletes the record.

        Raises:
            ValueError: The record is not saved.
            InUse: Other records use it, and the message counts them; or the instance needs it for its next writes.
        """
        if self._saved_id() is not None and not self._is_deleted:
            await self._delete_rows(self._home, [self._saved_id()], repr(self), self._note_deletion)

    @classmethod
    async def _delete_all(
        cls, instance: Instance, ids: Sequence[int], permanent: bool | None, storage: bool | None
    ) -> None:
        """Deletes many records; see `QuerySet.delete`."""
        if permanent is False or storage is not None:
            raise ValueError(f"{cls.__name__} records have no trash and no objects: call delete() without arguments")
        what = f"{len(ids):,} {cls.__name__} record{'s' if len(ids) != 1 else ''}"
        await cls._delete_rows(instance, ids, what, lambda: None)

    @classmethod
    async def _delete_rows(
        cls, instance: Instance, ids: Sequence[int], what: str, on_deleted: Callable[[], object]
    ) -> None:
        await delete_records(instance, inspect(cls).local_table, ids, what, on_deleted)

    def _note_deletion(self) -> None:
        self._is_deleted = True

    def _check_not_deleted(self) -> None:
        """Raises if the record was deleted.

        Raises:
            NoResultFound: It was permanently deleted.
        """
        if self._is_deleted:
            raise NoResultFound(f"{self!r} was deleted for good: create a new one")

    def _saved_id(self) -> int:
        """Returns the id.

        Raises:
            ValueError: It is not saved.
        """
        if self._id is None:
            raise ValueError(f"{self!r} is not saved, so it cannot be deleted")
        return self._id

    @property
    def _home(self) -> Instance:
        """The instance of the record; for a new record, the current one."""
        return self._instance or current()

    def _check_home(self, instance: Instance) -> None:
        """Raises if the record belongs to another registry, where its id means another record.

        Raises:
            ValueError: It belongs to another database.
        """
        if self._home is not instance and str(self._home.database) != str(instance.database):
            raise ValueError(f"{self!r} belongs to {self._home!r}: records of {instance!r} cannot refer to it")

    async def _save(self, instance: Instance) -> None:
        if self._id is not None:
            await self._write_changes(instance)
            return
        if self._saving is None:
            self._saving = asyncio.Lock()
        async with self._saving:  # two artifacts of one new run may save the run at once
            if self._id is None:
                await self._write_new(instance)

    async def _write_new(self, instance: Instance) -> None:
        if self._known_by is not None:
            for failure in await named.write(type(self), [self], instance):
                raise failure.error
            return
        identity = await instance.identity()
        if self._sent is not None and await self._is_found(instance):
            return
        sent = columns(self)
        now = datetime.now(UTC)
        new = sent | {"uid": self._uid or self._first_uid(), "created_at": now, "updated_at": now} | self._new_columns()
        if "created_by_id" in new:
            new["created_by_id"] = identity.user_id
        outcome = Outcome()
        try:
            with no_clash(self):
                async with instance.database.write(outcome) as conn:
                    row = await inserted(conn, self, new)
                    await self._follow_new(conn, row)
                    outcome.apply = partial(take, self, row, instance, sent)
        except KeyExists:
            if self._sent is None or not await self._is_found(instance):
                raise
        except BaseException:
            note_doubt(self, outcome, new["uid"], sent)
            raise

    def _first_uid(self) -> str:
        """Returns the uid to try first for a new row: the uid behind the hash of the record, if the hash was used."""
        return self._next_uid or new_uid()

    def _take_uid(self) -> str:
        """Returns the same uid once; the next attempt gets another one."""
        uid, self._next_uid = self._first_uid(), None
        return uid

    def _new_columns(self) -> dict[str, Any]:
        """Returns the columns of a new row that are known only at the time of writing."""
        return {}

    async def _is_found(self, instance: Instance) -> bool:
        """Looks for a row whose COMMIT was in doubt. If the row exists, the record becomes it; returns True then."""
        async with instance.database.read() as conn:
            row = await found(conn, type(self), uid=self._uid)
        if row is not None:
            await self._become(row, instance, self._sent)
            await self._write_changes(instance)
        return row is not None

    async def _become(self, row: Mapping[str, Any], instance: Instance, sent: Mapping[str, Any] | None = None) -> None:
        """Becomes an existing record.

        Args:
            row: The row of the existing record.
            instance: The instance of the row.
            sent: The columns as they were sent. Later changes count as changes of the existing record. None means the
                current columns.
        """
        sent = columns(self) if sent is None else sent
        async with instance.database.read() as conn:
            whole = await with_related(conn, self, row)
        take(self, whole, instance, sent)
        self._sent = None

    async def _write_changes(self, instance: Instance, values: Mapping[str, Any] | None = None) -> None:
        """Writes the given columns, else the columns changed since the record was loaded or saved."""
        self._check_not_deleted()
        if not (changes(self) if values is None else values):
            return
        outcome = Outcome()
        async with instance.database.write(outcome) as conn:
            outcome.apply = await self._change(conn, instance, values)

    async def _change(
        self, conn: AsyncConnection, instance: Instance, values: Mapping[str, Any] | None = None
    ) -> Callable[[], object]:
        """Writes columns in a transaction. Returns a function that updates the record after the commit."""
        self._check_not_deleted()
        new = dict(changes(self) if values is None else values)
        sent = {name: value for name, value in columns(self).items() if name in new}
        new["updated_at"] = datetime.now(UTC)
        table = table_of(self)
        with no_clash(self):
            await self._check_changes(conn, new)
            done = await conn.execute(update(table).where(table.c.id == self._id).values(new))
            if done.rowcount != 1:
                raise NoResultFound(f"{self!r} has been deleted from {instance!r}, so it cannot be changed")
            new |= await self._follow_changes(conn, new)
        return partial(take, self, new, instance, sent)

    async def _follow_new(self, conn: AsyncConnection, row: Mapping[str, Any]) -> None:
        """Hook: writes what depends on a new row, in the same transaction."""

    async def _check_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> None:
        """Hook: raises if column values must not be written, in the same transaction."""

    async def _follow_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> dict[str, Any]:
        """Hook: writes what depends on column values, in the same transaction. Returns further changed columns."""
        return {}


class TracksUpdates:
    """A record with the time of its last write."""

    updated_at = Field[datetime]()

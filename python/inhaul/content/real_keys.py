"""Replacement of content under a real key, where the only object of an artifact would be overwritten.

The row switches twice: to a separate object with the new content, and, when the content is also under the key, back to
the key. In between, and after a crash, it refers to a whole object. A note describes the replacement, and the next
process that opens the registry finishes it. Before the first switch, nothing has changed.
"""

import asyncio
import errno
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import RowMapping, select, update

from inhaul import notes, space
from inhaul.content.base import Content, ObjectAccess
from inhaul.content.fetch import copy_of, holds
from inhaul.content.given import content_of
from inhaul.db import tables
from inhaul.db.engine import Outcome
from inhaul.db.sharers import sharers
from inhaul.errors import InhaulError, KeyExists, ObjectChanged
from inhaul.hashing import Digest
from inhaul.stores.base import Store
from inhaul.tasks import to_the_end

_LEAVE = 1.0  # seconds that a cancelled call waits for the key to be written
_NOTES = "replacing"
"""Folder of the notes in the instance's `.inhaul`."""


class Held(NamedTuple):
    """An object and its digest."""

    object_key: str
    digest: Digest


class Note:
    """The note of a replacement. Its methods block.

    Attributes:
        uid: The uid of the artifact.
        old: The old object.
        staged: The key of the separate object with the new content.
    """

    def __init__(self, home: Path, uid: str, old: Held, staged: str, descriptor: int | None = None) -> None:
        self._file = home / _NOTES / f"{uid}.json"
        self._descriptor = descriptor
        self.uid = uid
        self.old = old
        self.staged = staged

    @classmethod
    def left_behind(cls, home: Path) -> list[Self]:
        """Returns the notes of crashed processes, locked."""
        left = []
        for file in sorted((home / _NOTES).glob("*.json")):
            # If a note is damaged, the row still refers to a whole object, though perhaps not under the key.
            if (taken := notes.take(file, _said)) is not None:
                descriptor, (old, staged) = taken
                left.append(cls(home, file.stem, old, staged, descriptor))
        return left

    def begin(self) -> None:
        """Writes the note to disk, and locks it.

        Raises:
            KeyExists: Another process replaces the same artifact, or crashed while doing so.
            StorageFull: There is no room for the note.
        """
        with space.explained(self._file):
            notes.folder(self._file.parent)
            try:
                known = {"key": self.old.object_key, "digest": self.old.digest, "staged": self.staged}
                self._descriptor = notes.create(self._file, known)
            except FileExistsError:
                message = "The artifact is being replaced by somebody else: try again when they are done"
                raise KeyExists(errno.EEXIST, message, self.old.object_key) from None

    def end(self) -> None:
        """Removes the note."""
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Unlocks the note, for the next process."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _said(content: Any) -> tuple[Held, str]:
    """Parses a note: the old object, and the key of the new one."""
    digest = Digest(*content["digest"])
    if [type(one) for one in (content["key"], content["staged"], *digest)] != [str, str, str, str, int]:
        raise ValueError("a key or a digest is none")
    return Held(content["key"], digest), content["staged"]


async def settle(instance: ObjectAccess, note: Note, content: Content | None = None) -> None:
    """Puts the new content under the key of an artifact, switches the row to the key, and removes the separate object.

    Args:
        instance: The instance of the artifact.
        note: The note of the replacement.
        content: The new content, if the caller has it.

    Raises:
        ObjectChanged: Another writer has changed the object under the key. The row stays as it is.
    """
    row = await _row(instance, note.uid, waits=content is not None)
    store = await instance.writable(row["root"] if row is not None else instance.root)
    if row is not None and row["object_key"] == note.staged:
        await _put(instance, store, row, note, content)
        await switch(instance, note.uid, row["storage_id"], note.staged, {"object_key": row["key"]})
        await instance.database.sync()
    leftovers = [note.staged]
    if row is not None and row["key"] != note.old.object_key and await holds(store, *note.old):
        leftovers.append(note.old.object_key)
    async with instance.database.read() as conn:
        needed = {key for key in leftovers if await sharers(conn, store.root, [key])}
    await store.remove([key for key in leftovers if key not in needed])


async def _put(instance: ObjectAccess, store: Store, row: RowMapping, note: Note, content: Content | None) -> None:
    """Writes the content of the staged object under the artifact's key."""
    key, digest = row["key"], Digest(row["hash"], row["hash_type"], row["size"])
    if await holds(store, key, digest):
        return
    over = key == note.old.object_key and await holds(store, *note.old)
    if not over and await store.stat(key) is not None:
        raise ObjectChanged(errno.ESTALE, "Somebody else wrote here while the artifact was replaced", key)
    async with instance.database.read() as conn:
        if over and await sharers(conn, store.root, [key], besides=[row["id"]], limit=1):
            raise ObjectChanged(errno.ESTALE, "Another artifact was registered here while this one was replaced", key)
    if content is not None:
        # A request may be carried out after its call was cancelled; then the old content cannot be restored.
        await to_the_end(content.store(store, key, digest, exclusive=not over), within=_LEAVE)
    else:
        async with copy_of(store, note.staged, digest) as copy:
            await (await content_of(copy)).store(store, key, digest, exclusive=not over)
    await store.sync()


async def switch(
    instance: ObjectAccess,
    uid: str,
    storage_id: int,
    object_key: str,
    values: Mapping[str, Any],
    apply: Callable[[], object] = lambda: None,
) -> bool:
    """Gives a row new values if it still refers to an object. Returns False if it does not.

    Args:
        instance: The instance of the artifact.
        uid: The uid of the artifact.
        storage_id: The storage of the object.
        object_key: The object.
        values: The new values.
        apply: Called after they are committed.
    """
    table, outcome = tables.artifact, Outcome()
    same = (table.c.uid == uid) & (table.c.storage_id == storage_id) & (table.c.object_key == object_key)
    async with instance.database.write(outcome) as conn:
        is_there = (await conn.execute(update(table).where(same).values(values))).rowcount == 1
        if is_there:
            outcome.apply = apply
    return is_there


async def _row(instance: ObjectAccess, uid: str, *, waits: bool) -> RowMapping | None:
    """Returns the row of an artifact, locked: a transaction whose COMMIT is in doubt may still switch it.

    Raises:
        DatabaseBusy: Another transaction writes the row, and `waits` is False.
    """
    table, storage = tables.artifact, tables.storage
    query = select(table, storage.c.root).join(storage, storage.c.id == table.c.storage_id).where(table.c.uid == uid)
    query = query.with_for_update(nowait=not waits, of=table)
    async with instance.database.read() as conn:
        return (await conn.execute(query)).mappings().first()


async def recover(instance: ObjectAccess) -> None:
    """Finishes the replacements of crashed processes."""

    async def let_go(notes: Iterable[Note]) -> None:
        for note in notes:
            note.release()

    left = await to_the_end(asyncio.to_thread(Note.left_behind, instance.home), let_go)
    try:
        for note in left:
            await _end(instance, note)
    finally:
        await let_go(left)


async def _end(instance: ObjectAccess, note: Note) -> None:
    try:
        await settle(instance, note)
        await asyncio.to_thread(note.end)
    except (InhaulError, OSError) as error:
        warnings.warn(
            f"Artifact {note.uid} was being replaced when a process ended, and is stored under a name of its own "
            f"until its key can be written: {error}",
            stacklevel=2,
        )

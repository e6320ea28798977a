"""A file that moved goes on in the family of the artifact that it was before."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import bindparam, update

from inhaul.content.given import content_of
from inhaul.db import annotations, families, objects
from inhaul.db.live import Live
from inhaul.db.tables import artifact
from inhaul.errors import FileChanged
from inhaul.hashing import Digest
from inhaul.ingestion.activity import confirm, storing
from inhaul.ingestion.job import Job
from inhaul.ingestion.versions import next_version
from inhaul.keys import new_uid, next_uid, object_key, stem
from inhaul.stores.base import Store
from inhaul.tasks import each
from inhaul.upkeep.missing import path_of

_AT_ONCE = 16  # files that are stored again side by side


class _Heir(NamedTuple):
    """A new artifact, and what it becomes: the next version of the old one."""

    old: Live
    new: Live
    uid: str
    version: str | None
    object_key: str | None


async def adopt(job: Job, pairs: Sequence[tuple[Live, Live]]) -> None:
    """Makes new artifacts the next versions of old ones, with their descriptions, labels and feature values.

    The name of a stored object contains the uid of its artifact. So a copy in a storage is stored again under another
    name, and the first copy is removed. If a file changed meanwhile, its artifact stays as it is.

    Args:
        job: The ingest.
        pairs: The old and the new artifact of each file.
    """
    heirs = await _heirs(job, pairs)
    if job.in_place:
        await _write(job, heirs)
        return
    async with storing(job.instance.database):
        store = await job.instance.writable(job.root)
        stored = await each(heirs, lambda heir: _store(job, store, heir), at_once=_AT_ONCE)
        await store.sync()
        written = await _write(job, [heir for heir, is_stored in zip(heirs, stored, strict=True) if is_stored])
    await job.instance.database.sync()
    ids = {heir.new.id for heir in written}
    spare = [heir.new.object_key if heir.new.id in ids else heir.object_key for heir in heirs]
    await store.remove([key for key in spare if key is not None])


async def _heirs(job: Job, pairs: Sequence[tuple[Live, Live]]) -> list[_Heir]:
    uids = [old.uid for old, _ in pairs]
    async with job.instance.database.read() as conn:
        last = await families.last_of(conn, uids)
        versions = defaultdict(list)
        for uid, version in (await families.versions_of(conn, uids)).items():
            versions[stem(uid)].append(version)
    heirs = []
    for old, new in pairs:
        uid, version = next_uid(last[old.uid]), None
        with suppress(ValueError):  # no version of the family starts with a number: the new one has no name
            version = next_version(versions[stem(old.uid)])
        key = new.object_key if job.in_place else object_key(uid, new_uid()[:6], new.suffix)
        heirs.append(_Heir(old, new, uid, version, key))
    return heirs


async def _store(job: Job, store: Store, heir: _Heir) -> bool:
    """Stores a file under its new name. Returns False if it has changed or is gone."""
    new, key = heir.new, heir.object_key or ""
    try:
        content = await content_of(Path(path_of(job, new.key)))
        await content.store(store, key, Digest(new.hash, new.hash_type, new.size))
    except (FileChanged, FileNotFoundError):
        return False
    return True


async def _write(job: Job, heirs: Sequence[_Heir]) -> list[_Heir]:
    """Writes the rows. Returns the heirs whose families had no other new version meanwhile."""
    now = datetime.now(UTC)
    async with job.instance.database.write() as conn:
        if not job.in_place:
            await confirm(conn)
        await families.lock(conn, [one.uid for heir in heirs for one in (heir.old, heir.new)])
        last = await families.last_of(conn, [heir.old.uid for heir in heirs])
        rows = await objects.rows_of(conn, [heir.new.uid for heir in heirs])
        good = [
            heir
            for heir in heirs
            if heir.uid == next_uid(last[heir.old.uid])
            and heir.new.uid in rows
            and rows[heir.new.uid].object_key == heir.new.object_key
        ]
        if good:
            await families.retire(conn, artifact, [heir.new.uid for heir in good])
            names = ("uid", "version", "object_key", "description")
            values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
            change = update(artifact).where(artifact.c.id == bindparam("own_id")).values(**values, updated_at=now)
            given = [
                {
                    "own_id": heir.new.id,
                    "new_uid": heir.uid,
                    "new_version": heir.version,
                    "new_object_key": heir.object_key,
                    "new_description": heir.old.description,
                }
                for heir in good
            ]
            await conn.execute(change, given)
            await families.supersede(conn, [heir.uid for heir in good], now)
            await annotations.inherit(conn, [(heir.new.id, heir.old.id) for heir in good])
    return good

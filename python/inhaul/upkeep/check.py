"""Compares objects with their rows, and finds out what is wrong with those that differ."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from inhaul import hashing
from inhaul.cache import Entry
from inhaul.content.fetch import check_names
from inhaul.content.given import content_of
from inhaul.db import objects
from inhaul.db.objects import Row
from inhaul.errors import InhaulError, ObjectChanged, ObjectMissing, StorageMissing, StorageUnavailable
from inhaul.hashing import Digest
from inhaul.hashing.etags import hash_listed
from inhaul.instance import Instance
from inhaul.stores.base import Files, Readable
from inhaul.tasks import each
from inhaul.upkeep.matching import Match, look
from inhaul.upkeep.reports import Defect, Finding, VerifyReport
from inhaul.upkeep.sources import Sources

Found = Digest | Exception
"""The digest of an object, or the error that kept it from being read."""

_BAD = (InhaulError, OSError, ValueError)
"""Errors that concern one object; the check goes on with the others."""

_NO_STORE = (StorageUnavailable, StorageMissing)
"""Errors that concern the whole storage; the check ends."""


class Checker:
    """Compares objects of one storage with their rows.

    Args:
        instance: The instance with the registry.
        store: The storage that holds the objects.
        report: The report to add findings to.
        read: Read objects even if their metadata already tell their digest.
        repair: Store damaged objects again.
        sources: Files and folders that artifacts were made from, for repairs.
    """

    def __init__(
        self,
        instance: Instance,
        store: Readable,
        report: VerifyReport,
        *,
        read: bool,
        repair: bool,
        sources: Sources | None = None,
    ) -> None:
        self.report = report
        self._instance = instance
        self._store = store
        self._read_all = read
        self._repair = repair
        self._sources = sources or Sources()

    async def check(self, matches: Sequence[Match]) -> bool:
        """Checks some artifacts. Returns True if all are as registered."""
        found: list[Found | None] = [told_by_listing(match) if match.found else None for match in matches]
        unread = [at for at, match in enumerate(matches) if match.found and (found[at] is None or self._read_all)]
        for at, digest in zip(unread, await self._read([matches[at] for at in unread]), strict=True):
            found[at] = digest
        self.report.checked += len(matches)
        doubtful = []
        for match, told in zip(matches, found, strict=True):
            if isinstance(told, Digest) and await self._is_it(match, told):
                self.report.unhashed += told.hash_type == "etag"
            else:
                doubtful.append((match, told))
        return not doubtful or await self._confirm(doubtful)

    async def _is_it(self, match: Match, digest: Digest) -> bool:
        """Returns True if an object is as registered. Records a digest that is read for the first time."""
        row = match.row
        unknown = row.hash_type == "etag" or row.verified_by == "none"
        learned = unknown and self._read_all and digest.hash_type != "etag"
        expected = told_by_listing(match) if row.hash_type == "etag" and learned else digest
        if expected != row.digest:
            return False
        if learned:
            async with self._instance.database.write() as conn:
                await objects.note_digest(conn, row, digest, "readback", datetime.now(UTC))
        return True

    async def _read(self, matches: Sequence[Match]) -> list[Found]:
        """Hashes objects with the hash types of their rows."""
        self.report.read += sum(match.size for match in matches)
        if self._store.files is not None:
            return await _hash_files(self._store.files, matches)
        return await each(matches, self._read_remote, at_once=self._store.at_once)

    async def _read_remote(self, match: Match) -> Found:
        try:
            async with self._instance.cache.scratch() as target:
                await fetch(self._store, match, target)
                return await asyncio.to_thread(_hash, target, match.row)
        except _NO_STORE:
            raise
        except _BAD as error:
            return error

    async def _confirm(self, doubtful: Sequence[tuple[Match, Found | None]]) -> bool:
        """Looks again at objects that seem wrong; others may have changed them. Returns True if all are right."""
        async with self._instance.database.read() as conn:
            rows = await objects.rows_of(conn, [match.row.uid for match, _ in doubtful])
            others = await objects.with_content(
                conn, [found.hash for _, found in doubtful if isinstance(found, Digest)]
            )
        wrong = list[tuple[Match, Found | None]]()
        for match, found in doubtful:
            if rows.get(match.row.uid) != match.row:
                continue  # replaced or deleted meanwhile
            now, digest = match, found
            if digest is None or isinstance(digest, ObjectMissing | ObjectChanged):  # changed since the listing
                now, digest = await self._look_again(match.row)
                if isinstance(digest, Digest) and await self._is_it(now, digest):
                    continue
            wrong.append((now, digest))
        async with self._instance.database.read() as conn:  # they may have been deleted since the rows were read
            rows = await objects.rows_of(conn, [match.row.uid for match, _ in wrong])
        wrong = [(match, found) for match, found in wrong if rows.get(match.row.uid) == match.row]
        for match, found in wrong:
            await self._report(match, found, others)
        return not wrong

    async def _look_again(self, row: Row) -> tuple[Match, Found | None]:
        try:
            now = await look(self._store, row)
        except _NO_STORE:
            raise
        except _BAD as error:
            return Match(row, []), error
        digest: Found | None = told_by_listing(now) if now.found else None
        if now.found and (digest is None or self._read_all):
            digest = (await self._read([now]))[0]
        return now, digest

    async def _report(self, match: Match, found: Found | None, others: Sequence[Row]) -> None:
        row = match.row
        twin = next((other for other in others if other.digest == found and other.uid != row.uid), None)
        path = self._store.location(row.object_key or "")
        finding = Finding(_defect(row, found, twin), path, row.key, row.uid, _detail(row, found, twin))
        if self._repair:
            finding.detail += f"; {await self._store_again(row, finding)}"
        self.report.findings.append(finding)

    async def _store_again(self, row: Row, finding: Finding) -> str:
        """Stores a damaged object again. Returns a text that says from where, or why it could not."""
        if not row.key_is_virtual:
            return "its key was chosen by a user, so it is left as it is"
        entry = Entry(row.uid, row.suffix, row.digest, row.n_objects is not None)
        try:
            copies = await asyncio.to_thread(lambda: [*self._sources.of(row)])
            if (cached := await self._instance.cache.has(entry)) is not None:
                copies.append(cached)
            for copy in copies:
                if await self._store_from(copy, row):
                    finding.repaired = True
                    return f"stored again from {copy}"
            async with self._instance.database.read() as conn:
                equal = await objects.with_content(conn, [row.hash])
                roots = await objects.roots(conn, {other.storage_id for other in equal})
            for other in equal:
                if other.digest == row.digest and other.uid != row.uid:
                    store = self._instance.store(roots[other.storage_id])
                    match = await look(store, other)
                    async with self._instance.cache.scratch() as copy:
                        if match.found and match.size == row.size:
                            await fetch(store, match, copy)
                            if await self._store_from(copy, row):
                                finding.repaired = True
                                return f"stored again from artifact {other.uid}"
        except _BAD as error:
            return f"it could not be stored again: {error}"
        return "there is no equal copy to repair it from: pass the folder that it came from as source"

    async def _store_from(self, copy: Path, row: Row) -> bool:
        """Stores an object again from a copy, if the copy is as registered. Returns True if it did."""
        try:
            if await asyncio.to_thread(_hash, copy, row) != row.digest:
                return False
        except FileNotFoundError:
            return False
        store = await self._instance.writable(self._store.root)
        await store.remove([row.prefix])
        await (await content_of(copy)).store(store, row.object_key or "", row.digest)
        await self._store.sync()
        return True


def _defect(row: Row, found: Found | None, twin: Row | None) -> Defect:
    if found is None:
        return Defect.MISSING
    if isinstance(found, Exception):
        return Defect.UNREADABLE
    if found.size != row.size:
        if twin is not None:
            return Defect.SWAPPED
        return Defect.TRUNCATED if found.size < row.size and found.hash != row.hash else Defect.WRONG_SIZE
    return Defect.SWAPPED if twin is not None else Defect.ALTERED


def _detail(row: Row, found: Found | None, twin: Row | None) -> str:
    if not isinstance(found, Digest):
        return "there is no such object" if found is None else str(found)
    what = f"{found.size} bytes, {found.hash_type} {found.hash}"
    which = f", which is artifact {twin.uid}" if twin is not None else ""
    return f"{what}{which}, instead of {row.size} bytes, {row.hash_type} {row.hash}"


def superseded(store: Readable, row: Row) -> Finding:
    """Returns the finding for an artifact whose file was overwritten in place by a later version."""
    path = store.location(row.key or "")
    return Finding(None, path, row.key, row.uid, "a later version overwrote it in place")


def told_by_listing(match: Match) -> Digest | None:
    """Returns the digest of an object by its listing; None if its bytes must be read for that."""
    row = match.row
    digests = [(one.key.removeprefix(row.prefix), one.digest) for one in match.found if one.digest is not None]
    if len(digests) < len(match.found):
        return None
    digest = hash_listed(digests).digest if row.n_objects is not None else digests[0][1]
    if digest == row.digest or row.hash_type == "etag":
        return digest
    # Hashes of different types cannot be compared: the ETag of an object stored in parts changes its type when the
    # object is copied. Also, an ETag that is not the MD5 of the content may look like one.
    return digest if digest.hash_type == row.hash_type and row.verified_by == "etag" else None


async def fetch(store: Readable, match: Match, target: Path) -> None:
    """Downloads an artifact's objects to a new file or folder.

    Raises:
        InvalidKey: The keys of the objects cannot be paths in a folder.
        ObjectMissing: An object no longer exists.
    """
    row = match.row
    if row.n_objects is None:
        (one,) = match.found
        await store.fetch(row.prefix, target, one.size, one.etag)
        return
    files = [(one.key.removeprefix(row.prefix), one) for one in match.found]
    check_names(name for name, _ in files)
    for name, one in files:
        path = target / name
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await store.fetch(one.key, path, one.size, one.etag)


def _hash(path: Path, row: Row) -> Digest:
    if row.hash_type != "etag":
        return hashing.hash_like(path, row.hash_type)
    return hashing.hash_file(path) if row.n_objects is None else hashing.hash_tree(path).digest


async def _hash_files(files: Files, matches: Sequence[Match]) -> list[Found]:
    """Hashes files in parallel with the usual hash type, then the few that need another one."""
    keys = [match.row.object_key or "" for match in matches]
    usual = [at for at, match in enumerate(matches) if match.row.n_objects is None]
    found: dict[int, Found] = dict(zip(usual, await files.hash([keys[at] for at in usual]), strict=True))
    for at, match in enumerate(matches):
        digest = found.get(at)
        if digest is None or (isinstance(digest, Digest) and match.row.hash_type not in (digest.hash_type, "etag")):
            try:
                found[at] = await files.hash_like(keys[at], match.row.hash_type)
            except _BAD as error:
                found[at] = error
    return [found[at] for at in range(len(matches))]

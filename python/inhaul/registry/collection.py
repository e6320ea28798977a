"""Collections: ordered sets of artifacts."""

import asyncio
import errno
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.arguments import check_flag, check_list
from inhaul.db import families, tables
from inhaul.db.engine import Outcome
from inhaul.errors import KeyExists
from inhaul.formats.mapped import Join, MappedCollection
from inhaul.formats.tables import together
from inhaul.hashing import hash_bytes
from inhaul.ingestion.versions import next_version
from inhaul.instance import Instance, current
from inhaul.keys import next_uid
from inhaul.registry.artifact import Artifact
from inhaul.registry.lineage.current_run import input_run, note_inputs, run_for, saved_id
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field
from inhaul.registry.model.rows import columns, inserted, take
from inhaul.registry.model.visibility import Visibility
from inhaul.registry.queries.describing import IsDescribed
from inhaul.registry.queries.related import Fixed, ManyToMany, id_in
from inhaul.registry.queries.versioning import IsVersioned
from inhaul.registry.queries.visible import HasVisibility
from inhaul.registry.records.run import TracksRun
from inhaul.registry.verbs import delete as deletion
from inhaul.registry.verbs import members
from inhaul.tasks import OF_DOWNLOAD, each, most_at_once
from inhaul.texts import check_name, check_text

if TYPE_CHECKING:
    from inhaul.registry.queries.query_set import QuerySet
    from inhaul.registry.records.run import Run

_ATTEMPTS = 5  # if others write to the same name
_AT_ONCE = 256  # artifacts cached at the same time; a server of a database is asked about some of them

_table, _members = tables.collection, tables.collection_artifact


class Collection(HasVisibility, IsDescribed, IsVersioned, TracksRun, TracksUpdates):
    """An ordered set of artifacts with a name.

    If the name is registered, and the artifacts are those of the latest version in the same order, saving gives that
    version. Other artifacts, or another order, make a new version. `save()` raises `KeyExists` if the collection with
    this name is in the trash and has the same members. It raises `ValueError` if a member is in the trash, or if
    another version of the collection has the name that you assigned to `version`. It raises `NoResultFound` if a member
    was permanently deleted.

    Args:
        artifacts: Saved artifacts, each once.
        name: The name of the collection.
        description: A description of the collection.
        run: The run that creates the collection. None means the current run, False no run.

    Raises:
        TypeError: `artifacts` is not a list of artifacts, the name or the description is not a text, or the run is not
            a run.
        ValueError: An artifact is not saved, is listed twice, or belongs to another instance; or there is no artifact;
            or the name is empty, has more than 2,500 bytes in UTF-8, or holds a NUL character or half of a surrogate
            pair.
        WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse.
    """

    _name: str
    _description: str | None
    _hash: str
    _n_missing: int
    _naming = "name"
    _draft: "tuple[Artifact, ...]" = ()

    name = Field[str]()
    description = Field[str | None](writable=True, check=check_text)
    hash = Field[str]()
    n_missing = Field[int]()

    artifacts = ManyToMany(_members, "Artifact", manager="Members")

    def __init__(
        self,
        artifacts: Sequence[Artifact],
        name: str,
        description: str | None = None,
        run: "Run | Literal[False] | None" = None,
    ) -> None:
        check_list("artifacts", artifacts, "artifacts")
        self._draft = tuple(artifacts)
        check_name("name", name)
        check_text("description", description)
        if not self._draft:
            raise ValueError("A collection has at least one artifact")
        self._instance = current()
        ids = {id_in(self._instance, artifact, self._world["Artifact"]) for artifact in self._draft}
        if len(ids) < len(self._draft):
            raise ValueError("The collection lists an artifact twice: each can be a member once")
        self._name = name
        self._description = description
        self._visibility, self._n_missing = Visibility.default, 0
        # Hash types have a fixed length and name the hashing rule, so the text is unambiguous.
        content = "\n".join(f"{artifact.hash_type} {artifact.hash}" for artifact in self._draft)
        self._hash = hash_bytes(content.encode()).hash
        type(self).run.set(self, run_for(self._world, run, self._instance))

    def __repr__(self) -> str:
        version = f", version={self._version!r}" if self._version else ""
        return f"Collection(name={self._name!r}{version}, hash={self._hash!r})"

    async def delete(self, permanent: bool | None = None) -> None:
        """Moves the collection into the trash, or permanently deletes a collection in the trash. Its members stay.

        Only while the collection is in the trash, its members can be deleted. `n_missing` counts the members that were
        deleted permanently. A collection with missing members cannot be loaded, cached, mapped or restored.

        Args:
            permanent: True deletes permanently, False only moves into the trash. None deletes a collection permanently
                if it is in the trash.

        Raises:
            TypeError: `permanent` is not True, False or None.
            ValueError: The collection is not saved.
            NoResultFound: The collection to move into the trash was permanently deleted.
        """
        check_flag("permanent", permanent, optional=True)
        id = self._saved_id()
        if self._is_deleted:
            return
        if permanent or (permanent is None and self._visibility == Visibility.trash):
            await deletion.remove_collections(self._home, [id], self._note_deletion)
        elif self._visibility != Visibility.trash:
            await self._write_changes(self._home, {"visibility": Visibility.trash})

    @classmethod
    async def _delete_all(
        cls, instance: Instance, ids: Sequence[int], permanent: bool | None, storage: bool | None
    ) -> None:
        if storage is not None:
            raise ValueError("Collections have no objects of their own: leave storage= out")
        going, staying = await deletion.parted(instance, _table, ids, permanent)
        await deletion.remove_collections(instance, going)
        await deletion.trash(instance, _table, staying)

    async def restore(self) -> Self:
        """Takes the collection out of the trash.

        Raises:
            KeyExists: A collection of another family has its name now.
            ValueError: A member is in the trash.
            NoResultFound: A member, or the collection, was permanently deleted.
        """
        self._check_not_deleted()
        if self._visibility == Visibility.trash:
            await self._write_changes(self._home, {"visibility": Visibility.default})
        return self

    async def _save(self, instance: Instance) -> None:
        if self._id is not None:
            await self._write_changes(instance)
            return
        run_id = await saved_id(self._run, instance)
        for _ in range(_ATTEMPTS):
            async with instance.database.read() as conn:
                query = select(_table).where(_table.c.name == self._name, _table.c.is_latest)
                rows = (await conn.execute(query)).mappings().all()
            latest = next((row for row in rows if row["visibility"] != Visibility.trash), None)
            if latest is None:
                await self._check_trash(instance, rows)
            if latest is not None and latest["hash"] == self._hash and await self._has_members(instance, latest["id"]):
                description = self._description
                await self._become(dict(latest), instance)
                self._description = description if description is not None else self._description
                await self._write_changes(instance)
                return
            try:
                await self._insert(instance, run_id, latest["uid"] if latest is not None else None)
                return
            except IntegrityError:
                continue  # another writer made the next version first
        raise KeyExists(errno.EEXIST, "Others keep writing to this collection: try again later", self._name)

    async def _check_trash(self, instance: Instance, rows: Sequence[RowMapping]) -> None:
        """Raises if an equal collection is in the trash."""
        for row in rows:
            if row["hash"] == self._hash and await self._has_members(instance, row["id"]):
                raise KeyExists(
                    errno.EEXIST, f"Collection {row['uid']} in the trash has these members: restore it", self._name
                )

    async def _has_members(self, instance: Instance, id: int) -> bool:
        """True if a collection has exactly these members; other artifacts may have equal content."""
        async with instance.database.read() as conn:
            return await members.ids(conn, id) == [artifact.id for artifact in self._draft]

    async def _insert(self, instance: Instance, run_id: int | None, follows: str | None) -> None:
        """Inserts the row, as the first of its name or as a new version."""
        identity = await instance.identity()
        sent, now = columns(self), datetime.now(UTC)
        new = sent | {
            "uid": self._first_uid(),
            "is_latest": True,
            "run_id": run_id,
            "created_by_id": identity.user_id,
            "created_at": now,
            "updated_at": now,
        }
        outcome = Outcome()
        async with instance.database.write(outcome) as conn:
            await members.check_live(conn, self._draft)
            if follows is not None:
                family = await members.family(conn, follows)
                members.check_unused(family, self._given_version)
                new["uid"] = next_uid(await families.highest(conn, _table, follows))
                new["version"] = self._given_version or next_version(family.values())
                changes = {"is_latest": False, "version": func.coalesce(_table.c.version, "1"), "updated_at": now}
                await conn.execute(update(_table).where(_table.c.uid == follows).values(changes))
            row = await inserted(conn, self, new)
            links = [
                {"collection_id": row["id"], "artifact_id": artifact.id, "position": position}
                for position, artifact in enumerate(self._draft)
            ]
            await conn.execute(insert(_members), links)
            outcome.apply = partial(take, self, row, instance, sent)

    async def _check_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> None:
        if "version" in values:
            family = await members.family(conn, self._uid)
            family.pop(self._uid, None)
            members.check_unused(family, values["version"])
        if "visibility" in values:
            await families.lock(conn, [self._uid], _table)
            if values["visibility"] != Visibility.trash:
                await members.check_restorable(conn, self, self._name)

    async def load(self, join: Literal["inner", "outer"] = "outer", is_run_input: "bool | Run | None" = None) -> Any:
        """Loads all members and concatenates them. The members must be all DataFrames or all AnnData.

        For AnnData, the column `artifact_uid` of `obs` holds the uid of the member.

        Args:
            join: `"inner"` keeps the columns or variables that all members have, `"outer"` keeps all.
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            ValueError: The collection is not saved, its members are neither all DataFrames nor all AnnData, `join` has
                an unknown value, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.load`.
        """
        run = input_run(self, is_run_input)
        artifacts = await self._saved()
        accessors = {artifact.accessor for artifact in artifacts}
        if accessors not in ({"DataFrame"}, {"AnnData"}):
            raise ValueError(f"{self!r} cannot be loaded as one: its members must be all DataFrames or all AnnData")
        if join not in ("inner", "outer"):
            raise ValueError(f"join={join!r}: use 'inner' or 'outer'")
        paths = await self._cache(artifacts, run)
        loaded = [await artifact._loaded(path) for artifact, path in zip(artifacts, paths, strict=True)]
        return await asyncio.to_thread(_concatenated, loaded, [artifact.uid for artifact in artifacts], join)

    async def cache(self, is_run_input: "bool | Run | None" = None) -> list[Path]:
        """Returns local paths of all members, in their order; see `Artifact.cache`. It fetches up to 8 at a time.

        Args:
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            ValueError: The collection is not saved, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        run = input_run(self, is_run_input)
        return await self._cache(await self._saved(), run)

    async def mapped(
        self, obs_keys: Sequence[str] = (), join: Join = "inner", is_run_input: "bool | Run | None" = None
    ) -> MappedCollection:
        """Returns the observations of all members as one indexed data set for PyTorch's `DataLoader`.

        The members must be all AnnData. Remote ones are fetched into the cache.

        Args:
            obs_keys: Columns of `obs` to include in each item.
            join: `"inner"` keeps the variables that all members have, `"outer"` keeps all.
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            TypeError: `obs_keys` is a text.
            ValueError: The collection is not saved, a member is not an AnnData or does not suit `MappedCollection`,
                `join` has an unknown value, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        run = input_run(self, is_run_input)
        artifacts = await self._saved()
        if other := [artifact for artifact in artifacts if artifact.accessor != "AnnData"]:
            raise ValueError(f"{other[0]!r} is not an AnnData: only AnnData can be mapped")
        paths = await self._cache(artifacts, run)
        return await asyncio.to_thread(MappedCollection, paths, obs_keys, join)

    async def _saved(self) -> list[Artifact]:
        """Returns the members.

        Raises:
            ValueError: The collection is not saved.
            NoResultFound: Some members were permanently deleted.
        """
        if self._id is None:
            raise ValueError(f"{self!r} is not saved: save it first")
        async with self._home.database.read() as conn:
            await members.check_complete(conn, self)
        found: list[Artifact] = await self.artifacts._query()._all()
        return found

    async def _cache(self, artifacts: Sequence[Artifact], run: "Run | None") -> list[Path]:
        at_once = min(_AT_ONCE, most_at_once(OF_DOWNLOAD))
        paths = await each(artifacts, lambda artifact: artifact._cached(), at_once=at_once)
        await note_inputs(self._home, {member.id: member._run_id for member in artifacts}, run)
        return paths


class Members(Fixed[Artifact]):
    """The artifacts of a collection, in order."""

    def _query(self) -> "QuerySet[Artifact]":
        artifact: Any = self._registry
        position = select(_members.c.position).where(
            _members.c.collection_id == self._record._id, _members.c.artifact_id == artifact._id
        )
        return Fixed._query(self)._with(order=(position.scalar_subquery(),))


def _concatenated(loaded: list[Any], uids: list[str], join: Literal["inner", "outer"]) -> Any:
    """Concatenates objects. For AnnData, the column `artifact_uid` holds the source of each observation."""
    import pandas as pd

    if isinstance(loaded[0], pd.DataFrame):
        return together(loaded, join)
    import anndata

    return anndata.concat(loaded, join=join, label="artifact_uid", keys=uids, index_unique=None)

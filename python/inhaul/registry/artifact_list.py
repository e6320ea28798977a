"""The artifacts of a folder."""

import asyncio
import html
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from sqlalchemy import inspect
from sqlalchemy.orm.attributes import set_committed_value

from inhaul import observing
from inhaul.content.base import Content, Facts
from inhaul.content.files import FileContent
from inhaul.content.remote import ObjectContent
from inhaul.db import bulk
from inhaul.errors import NotStaged
from inhaul.formats import tables
from inhaul.hashing import Digest
from inhaul.ingestion import pipeline
from inhaul.ingestion.pipeline import Recorded
from inhaul.ingestion.place import Place
from inhaul.ingestion.report import IngestEvent, IngestReport, Issue, Status
from inhaul.ingestion.single import Staged
from inhaul.instance import StorageRow
from inhaul.registry.columns import Columns, Row
from inhaul.registry.model import edits
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.rows import changes
from inhaul.registry.verbs.folder import Folder
from inhaul.registry.verbs.save import Draft
from inhaul.settings import settings
from inhaul.stores.schemes import as_text
from inhaul.tasks import OF_DOWNLOAD, each, most_at_once
from inhaul.upkeep.reports import VerifyReport
from inhaul.upkeep.sources import Sources
from inhaul.upkeep.verify import verify_rows

if TYPE_CHECKING:
    import pandas as pd

    from inhaul.ingestion.job import Job
    from inhaul.ingestion.journal import Session
    from inhaul.registry.artifact import Artifact
    from inhaul.registry.model.world import World

A = TypeVar("A", bound="Artifact")

_SHOWN = 5  # artifacts in a repr
_DOWNLOADS = 256  # at the same time; a server of a database is asked about some of them


class ArtifactList(Sequence[A], Generic[A]):
    """The artifacts of one folder in path order, held as columns. An `Artifact` is made when an item is first accessed.

    `Artifact.from_dir` creates such lists and documents the arguments. Items, `len()`, `cache()` and `df()` need a list
    that is staged or saved; `inhaul.sync` stages it for them. If `save()` is called on a list that is not staged, it
    reads each file only once, unless `duplicates="drop"`.
    """

    _world: ClassVar["World"]
    _on_event: Callable[[IngestEvent], object] | None = None

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._instance = folder.instance
        self._job: Job | None = None
        self._plan: tuple[Job, Session] | None = None
        self._columns: Columns | None = None
        self._saved = False
        self._report = IngestReport()
        self._related: dict[str, dict[int | None, Any]] = {}
        self._touched: dict[str, A] = {}  # by path; held, so that an edit is not lost

    def __await__(self) -> Generator[Any, None, Self]:
        return self._staging().__await__()

    @property
    def failed(self) -> list[Issue]:
        """The files that could not be ingested, each with its path, reason and error. Empty before staging."""
        return self._report.failed

    @property
    def skipped(self) -> list[Issue]:
        """Links, special files and folders of other storages, which are left out on purpose. Empty before staging."""
        return self._report.skipped

    def __repr__(self) -> str:
        keys = [f"  {row.key}" for row in self._first_rows()]
        return "\n".join([self._title(), *keys, *(f"  {line}" for line in self._left_out())])

    def _repr_html_(self) -> str:
        """Returns the first artifacts as an HTML table for notebooks."""
        names = ("key", "size", "suffix", "accessor", "hash", "uid")
        rows = [[getattr(row, name) for name in names] for row in self._first_rows()]
        cells = ["".join(f"<td>{'' if one is None else html.escape(str(one))}</td>" for one in row) for row in rows]
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(f"<tr>{row}</tr>" for row in ([head, *cells] if rows else []))
        more = "".join(f"<p>{line}</p>" for line in self._left_out())
        return f"<table><caption>{html.escape(self._title())}</caption>{body}</table>{more}"

    def _title(self) -> str:
        if self._columns is None:
            return f"ArtifactList({as_text(self._folder.path)!r}, not staged)"
        state = "saved" if self._saved else "staged"
        return f"ArtifactList: {len(self):,} artifacts {state}, {self._report.bytes:,} bytes"

    def _first_rows(self) -> list[Row]:
        if self._columns is None:
            return []
        return [self._columns.row(place) for place in range(min(_SHOWN, len(self)))]

    def _left_out(self) -> list[str]:
        if self._columns is None:
            return []
        lines = [f"... {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else []
        lines += [f"failed: {len(self.failed):,}"] if self.failed else []
        return lines + ([f"skipped: {len(self.skipped):,}"] if self.skipped else [])

    def __len__(self) -> int:
        return len(self._staged_columns())

    @overload
    def __getitem__(self, index: int) -> A: ...
    @overload
    def __getitem__(self, index: slice) -> list[A]: ...
    def __getitem__(self, index: int | slice) -> A | list[A]:
        if isinstance(index, slice):
            return [self._touch(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"There is no artifact {index} among {len(self)}")
        return self._touch(place)

    def __iter__(self) -> Iterator[A]:
        return (self._touch(place) for place in range(len(self)))

    async def save(self) -> Self:
        """Stores and registers all artifacts.

        If you have edited fields of items, the call also writes these edits. A later call writes only edits: it does
        not try the files in `failed` again. For that, create a new list.

        Raises:
            FileNotFoundError: The folder does not exist.
            NotADirectoryError: The path is a file.
            UnsupportedStorage: The path is neither a folder nor an address in a bucket or on the Hugging Face Hub.
            InvalidKey: The name of the folder is not a valid key.
            ValueError: `key` is not the path of the folder in its storage.
            LeaseLost: The process was stopped for minutes, such as by a laptop's sleep; repeat the call.
            ExceptionGroup: Some edits could not be saved, or files failed and `errors` is `"raise"`. It is raised after
                the rest is saved, and holds the errors. If edits failed, it also says how many are saved.
        """
        await self._save_all()
        return self

    async def _save_all(self) -> None:
        if not self._saved:
            with observing.operation("save", folder=as_text(self._folder.path)) as outcome:
                await self._save()
                outcome.update(self._report.outcomes, files=self._report.files, bytes=self._report.bytes)
        edited = [artifact for artifact in self._touched.values() if edits.is_edited(artifact)]
        failed = await edits.write(edited, self._instance)
        if failed:
            saved = len(edited) - sum(count for count, _ in failed)
            message = f"{saved:,} of {len(edited):,} changed artifacts are saved; the errors name the others"
            errors = [error for _, error in failed]
            if self._folder.errors == "raise":
                errors += [issue.error for issue in self.failed]
            raise ExceptionGroup(message, errors)
        if self._folder.errors == "raise":
            self._report.raise_failures()

    async def cache(self) -> list[Path]:
        """Returns local paths of all contents; see `Artifact.cache`. It fetches up to 256 at a time.

        Raises:
            NotStaged: The list is neither staged nor saved.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        at_once = min(_DOWNLOADS, most_at_once(OF_DOWNLOAD))
        with observing.operation("cache", folder=as_text(self._folder.path), files=len(self)):
            return await each(self, lambda artifact: artifact._cached(), at_once=at_once)

    async def verify(self, *, read: bool = False, repair: bool = False) -> VerifyReport:
        """Compares the objects of all artifacts with the registry.

        Args:
            read: Read objects even if their metadata suffice.
            repair: Store damaged or missing objects again if an equal copy is in the folder, in the cache or in another
                artifact.

        Raises:
            ValueError: The list is not saved.
        """
        if not self._saved:
            raise ValueError(f"{self!r} is not saved, so there is nothing to compare it with")
        files = await asyncio.to_thread(self._files)
        with observing.operation("verify", folder=as_text(self._folder.path)) as outcome:
            report = await verify_rows(self._instance, files, Sources(files), read=read, repair=repair)
            outcome |= report.totals
        return report

    def _files(self) -> dict[str, Path]:
        """Returns the source files of the artifacts, by uid."""
        columns = self._staged_columns()
        return {columns.values(at)["uid"]: Path(columns.row(at).path) for at in range(len(columns))}

    async def df(self) -> "pd.DataFrame":
        """Returns the artifacts as a table: path, key, status, uid, size in bytes, hash, and so on.

        Raises:
            NotStaged: The list is neither staged nor saved.
        """
        return await asyncio.to_thread(self._df, self._staged_columns())

    def _df(self, columns: Columns) -> "pd.DataFrame":
        rows = [columns.row(place)[:-2] for place in range(len(columns))]
        return tables.frame(rows, Row._fields[:-2])

    async def _artifact_ids(self) -> list[int]:
        """Returns the ids of all artifacts.

        Raises:
            ValueError: The list is not saved.
        """
        if not self._saved:
            raise ValueError(f"{self!r} is not saved: save it first")
        columns = self._staged_columns()
        return await asyncio.to_thread(lambda: [columns.values(place)["id"] for place in range(len(columns))])

    def _staged_columns(self) -> Columns:
        if self._columns is None:
            raise NotStaged(f"{self!r}: await it first")
        return self._columns

    @property
    def _is_staged(self) -> bool:
        return self._columns is not None

    async def _check(self) -> None:
        """Raises if the folder itself is invalid. Reads no file."""
        await self._folder.where()

    async def _staging(self) -> Self:
        if self._columns is None:
            await self._read()
        return self

    async def _read(self) -> None:
        job = await self._folder.job()
        with observing.operation("stage", folder=job.address or job.path, storage=job.root) as outcome:
            await self._read_files(job)
            outcome.update(self._report.outcomes, files=self._report.files, bytes=self._report.bytes)

    async def _read_files(self, job: "Job") -> None:
        session = await job.session()
        with session.left_on_failure():
            batches = await pipeline.stage(job, session, pipeline.teller(IngestReport(), self._on_event))
            await self._hold(job, [Recorded(batch, [], session.started, {}) for batch in batches], saved=False)
        self._plan = job, session

    async def _save(self) -> None:
        plan = self._take_plan()
        if plan is None and self._folder.duplicates == "drop":
            await self._read()  # the first of each content is known once all are read
            plan = self._take_plan()
        done: list[Recorded] = []
        tell = pipeline.teller(IngestReport(), self._on_event)

        def add(recorded: Recorded, found: int, walked: bool) -> None:
            done.append(recorded)
            tell(recorded.batch, found, walked)

        if plan is None:
            job = await self._folder.job()
            session = await job.session()
            with session.left_on_failure():
                await pipeline.ingest(job, session, add)
        else:
            job, session = plan
            found, batches = len(self), [part.batch for part in self._staged_columns().parts]
            with session.left_on_failure():
                await pipeline.save(job, session, batches, lambda recorded: add(recorded, found, True))
        await self._hold(job, done, saved=True)

    def _take_plan(self) -> "tuple[Job, Session] | None":
        """Returns the job and session of the staging, for one attempt to save; None if the folder must be read again.

        A failed attempt may have stored objects and registered some of them. So the next one reads the folder again,
        asks the registry about it, and continues the session.
        """
        plan, self._plan = self._plan, None
        if plan is None or not self._some_saved_alone():
            return plan
        plan[1].release()  # otherwise this call could not continue it
        return None

    def _some_saved_alone(self) -> bool:
        """True if new artifacts were saved since the list was staged, so the plan is outdated."""
        columns = self._staged_columns()
        places = [columns.find(path) for path, artifact in self._touched.items() if artifact._id is not None]
        return any(place is not None and columns.row(place).status != Status.UNCHANGED for place in places)

    async def _hold(self, job: "Job", parts: list[Recorded], *, saved: bool) -> None:
        """Sets the contents of the list from the outcome of staging or saving: all of them, or none if cancelled."""
        related = await self._load_related(job, parts)
        self._job, self._related, self._saved, self._report = job, related, saved, job.report()
        for part in parts:
            self._report.add(part.batch.counts, part.batch.nbytes, part.batch.issues)
        user_id = next((id for id, user in related["User"].items() if user._handle == settings.user), None)
        storage_id = next(iter(related["Storage"]), None)
        constants = {
            "storage_id": storage_id,
            "key_is_virtual": not job.in_place,
            "run_id": job.run_id,
            "created_by_id": user_id,
        }
        self._columns = Columns(parts, constants, saved=saved)
        for path, artifact in self._touched.items():
            if (place := self._columns.find(path)) is not None:
                self._fill(artifact, place)

    async def _load_related(self, job: "Job", parts: list[Recorded]) -> dict[str, dict[int | None, Any]]:
        """Returns the records that the artifacts refer to, so accessing an artifact does no I/O."""
        users_where = self._world["QuerySet"](self._world["User"]).filter
        users = await users_where(handle=settings.user)._all()
        run_ids = [job.run_id] if job.run_id is not None else []
        if any(part.ids is None or part.batch.counts[Status.UNCHANGED] for part in parts):  # rows of other runs
            async with self._instance.database.read() as conn:
                makers, runs = await bulk.referred(conn, job.root, job.key_prefix)
            users += await users_where(id__in=makers)._all()
            run_ids += runs
        found: dict[str, list[Any]] = {
            "Storage": await self._world["Storage"].filter(root=job.root)._all(),
            "User": users,
            "Run": await self._world["Run"].filter(id__in=run_ids)._all(),
        }
        return {name: {record._id: record for record in records} for name, records in found.items()}

    def _touch(self, place: int) -> A:
        path = self._staged_columns().row(place).path
        artifact = self._touched.get(path)
        if artifact is None:
            artifact = inspect(self._world["Artifact"]).class_manager.new_instance()
            self._fill(artifact, place)
            self._touched[path] = artifact
        return artifact

    def _fill(self, artifact: A, place: int) -> None:
        """Sets the fields of an artifact from the columns. Edits of it stay."""
        columns = self._staged_columns()
        edited = changes(artifact) if inspect(artifact).modified else {}
        values = columns.values(place)
        set_row(artifact, values)
        for name, registry in (("storage", "Storage"), ("created_by", "User"), ("run", "Run")):
            set_committed_value(artifact, f"_{name}", self._related[registry].get(values[f"{name}_id"]))
        draft = Draft(columns.row(place).path, values["key"], None, "return")
        is_new = values["id"] is None
        artifact._hold(self._instance, draft if is_new else None, self._staged_at(place, values) if is_new else None)
        for name, value in edited.items():
            setattr(artifact, f"_{name}", value)

    def _staged_at(self, place: int, values: dict[str, Any]) -> Staged:
        """Returns the staged state that a new artifact needs to be saved on its own."""
        columns, job = self._staged_columns(), self._job
        if job is None:
            raise NotStaged(f"{self!r}: await it first")
        facts = Facts(Digest(values["hash"], values["hash_type"], values["size"]), None, None)
        where = Place(StorageRow(job.storage_id, job.root), values["key"], job.in_place)
        path = columns.row(place).path
        content: Content = FileContent(Path(path))
        if job.address is not None:
            content = ObjectContent(path, self._instance, job.root, values["key"])
        return Staged(
            content=content,
            facts=facts,
            place=where,
            uid=values["uid"],
            object_key=values["object_key"],
            version=values["version"],
            follows=columns.follows(place),
        )

"""The report of an ingest: totals, and one entry for each file that failed or was skipped."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from inhaul.errors import (
    FileChanged,
    InvalidKey,
    KeyExists,
    LinkRefused,
    ObjectRefused,
    StorageFull,
    StorageUnavailable,
    ValidationError,
)
from inhaul.stores.schemes import as_path

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath


class Status(StrEnum):
    """The outcome for a file that is in the registry now."""

    NEW = "new"
    NEW_VERSION = "new_version"
    UNCHANGED = "unchanged"


class Reason(StrEnum):
    """Why a file is not in the registry. Files with one of the last five reasons are skipped, the others failed."""

    UNREADABLE = "unreadable"
    VANISHED = "vanished"
    CHANGED = "changed"
    NOT_UTF8 = "not_utf8"
    INVALID_KEY = "invalid_key"
    TRASHED = "trashed"
    CONFLICT = "conflict"
    IO_ERROR = "io_error"
    NO_SPACE = "no_space"
    NOT_STORED = "not_stored"
    INVALID_ENTRY = "invalid_entry"
    SYMLINK = "symlink"
    SPECIAL = "special"
    OUTSIDE = "outside"
    LOOP = "loop"
    STORAGE = "storage"

    @property
    def skipped(self) -> bool:
        """True if files with this reason are left out on purpose."""
        return self in (Reason.SYMLINK, Reason.SPECIAL, Reason.OUTSIDE, Reason.LOOP, Reason.STORAGE)


@dataclass(frozen=True, slots=True)
class Issue:
    """A file that was not ingested.

    Attributes:
        path: Its path.
        reason: Why it was not ingested.
        error: The error, with a message for people. It was not raised.
    """

    path: "Path | UPath"
    reason: Reason
    error: Exception


_NOT_STORED: Mapping[int, type[OSError]] = {
    errno.ENOSPC: StorageFull,
    errno.ECONNABORTED: StorageUnavailable,
    errno.EXDEV: LinkRefused,
}

ScannerIssue = tuple[bytes, str, str, int]
"""Path, reason, message, and errno or 0 of a file that the scanner left out."""


def issue(path: bytes, reason: str, message: str, code: int) -> Issue:
    """Returns the issue for a report of the scanner; `code` is the errno, or 0."""
    where = os.fsdecode(path)
    why = Reason(reason)
    error: Exception
    match why:
        case Reason.CHANGED:
            error = FileChanged(errno.EBUSY, message, where)
        case Reason.NOT_UTF8 | Reason.INVALID_KEY:
            error = InvalidKey(f"{where!r}: {message}")
        case Reason.TRASHED | Reason.CONFLICT:
            error = KeyExists(errno.EEXIST, message, where)
        case Reason.INVALID_ENTRY:
            error = ValidationError(f"{where!r}: {message}")
        case Reason.NO_SPACE:
            error = StorageFull(errno.ENOSPC, message, where)
        case Reason.NOT_STORED:
            error = _NOT_STORED.get(code, ObjectRefused)(code, message, where)
        case _:
            error = OSError(code or errno.EIO, message, where)
    return Issue(as_path(where), why, error)


def left_out(root: str) -> Issue:
    """Returns the issue for another storage below the folder."""
    message = "This folder is a storage of its own: ingest it by itself"
    return issue(os.fsencode(root), Reason.STORAGE, message, errno.EXDEV)


@dataclass(frozen=True, slots=True)
class IngestEvent:
    """The progress of an ingest, reported once per batch, when its rows are in the registry.

    Attributes:
        files: The number of files done so far, including failed ones.
        bytes: Bytes of those files that are in the registry.
        found: The number of files found so far, or taken from a list.
        walked: Whether the walk is over, so that `found` is final. In a bucket it is never True, unless
            `duplicates="drop"`.
    """

    files: int
    bytes: int
    found: int
    walked: bool


_SHOWN = 5  # files in the repr of a report

LISTED = 10_000
"""The most missing files, moved files and changes that a report lists."""


class Missing(NamedTuple):
    """A live artifact whose file is no longer in the ingested folder.

    Attributes:
        uid: The uid of the artifact.
        key: Its key.
    """

    uid: str
    key: str


class Moved(NamedTuple):
    """A new file with the content of one that is missing.

    Attributes:
        old_key: The key of the missing file.
        new_key: The key of the new file.
    """

    old_key: str
    new_key: str


class Change(NamedTuple):
    """What an ingest would do with a file.

    Attributes:
        status: `NEW` or `NEW_VERSION`.
        key: The key of the file.
    """

    status: Status
    key: str


@dataclass(slots=True, repr=False)
class IngestReport:
    """The outcome of an ingest.

    Attributes:
        files: The number of files in `counts` and `failed`. Files that `duplicates="drop"` leaves out do not count.
        bytes: Bytes of the files in `counts`, which are in the registry now.
        seconds: Wall time in seconds.
        counts: The number of files by status.
        failed: Files that should be in the registry but are not.
        skipped: Paths left out on purpose: links, special files, and folders that are separate storages; of a list
            also folders, and files of other storages. Files that `exclude` or an ignore file leaves out are not listed.
        missing: Live artifacts under the key of the folder whose files are no more, the first 10,000. Not found for
            lists.
        n_missing: The number of all of them.
        moved: Missing files whose content a new file has, the first 10,000. They are in `missing`, too.
        n_moved: The number of all of them.
        pruned: The number of missing artifacts that `prune` moved into the trash.
        not_pruned: Why `prune` left missing artifacts as they are: the number of artifacts by reason.
        changes: What `dry_run` would register, the first 10,000.
    """

    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    counts: Counter[Status] = field(default_factory=Counter)
    failed: list[Issue] = field(default_factory=list)
    skipped: list[Issue] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    n_missing: int = 0
    moved: list[Moved] = field(default_factory=list)
    n_moved: int = 0
    pruned: int = 0
    not_pruned: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of files by status, and of those that failed, were skipped, are missing, moved, or were pruned."""
        counts = {f"{status}": self.counts[status] for status in Status}
        counts |= {"failed": len(self.failed), "skipped": len(self.skipped)}
        return counts | {"missing": self.n_missing, "moved": self.n_moved, "pruned": self.pruned}

    def __repr__(self) -> str:
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.outcomes.items() if count)
        lines = [f"IngestReport: {self.files:,} files, {self.bytes:,} bytes, {self.seconds:.2f} s: {told or 'nothing'}"]
        lines += [f"  {entry.path}: {entry.error}" for entry in self.failed[:_SHOWN]]
        more = len(self.failed) - _SHOWN
        lines += [f"  ... {more:,} more failed"] if more > 0 else []
        return "\n".join([*lines, *(f"  {count:,} not pruned: {why}" for why, count in self.not_pruned.items())])

    @property
    def registered(self) -> int:
        """The number of files in `counts`, which are in the registry now."""
        return sum(self.counts.values())

    def add(self, counts: Mapping[str, int], nbytes: int, issues: Iterable["ScannerIssue"]) -> None:
        """Adds a batch: its rows by status, their bytes, and the scanner's issues."""
        for status, count in counts.items():
            self.counts[Status(status)] += count
            self.files += count
        self.bytes += nbytes
        for entry in issues:
            found = issue(*entry)
            (self.skipped if found.reason.skipped else self.failed).append(found)
            self.files += not found.reason.skipped

    def raise_failures(self) -> None:
        """Raises the errors of failed files, if there are any.

        Raises:
            ExceptionGroup: The error of each failed file.
        """
        if self.failed:
            raise ExceptionGroup(f"{len(self.failed)} files were not ingested", [entry.error for entry in self.failed])

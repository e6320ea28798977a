"""`watch`: its arguments, and how it finds changes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Literal

from inhaul.errors import UnsupportedStorage
from inhaul.filesystem import network_filesystem
from inhaul.ingestion.report import IngestReport
from inhaul.instance import current
from inhaul.registry.lineage.current_run import active_run
from inhaul.registry.verbs.folder import Folder
from inhaul.watching.events import Events
from inhaul.watching.marker import FOLDER, Marker
from inhaul.watching.polling import POLL, Polling
from inhaul.watching.rounds import Rounds
from inhaul.watching.waiting import Waiting

if TYPE_CHECKING:
    from inhaul.registry.records.run import Run
    from inhaul.stores.locations import Pathish

SETTLE = 0.3
"""Seconds for which a file must not change; on a network file system half the interval of `POLL`."""

_LONGEST = 86_400.0  # seconds: of an interval or a settle time


def watch(
    path: "Pathish",
    key: str | None = None,
    *,
    run: "Run | Literal[False] | None" = None,
    exclude: Sequence[str] | None = None,
    settle: float | None = None,
    poll: float | None = None,
    when_exists: str | None = None,
) -> AsyncGenerator[IngestReport]:
    """Ingests the files that are in a folder, and then each one that arrives, until the iteration ends.

    It yields a report after each round in which files were registered or failed. A file is taken when it is complete:
    its size and times have not changed for the settle time, and nobody has it open to write. The latter is known only
    on file systems of this machine, if this process runs as root or owns the file. What is taken is exactly the
    content that was complete: a file that changes meanwhile is taken later.

    - A replaced file becomes a new version. The registry keeps a file that was removed.
    - Names that programs use while they write are left out: `*.part`, `*.partial`, `*.tmp`, `*.temp`, `*.crdownload`,
      `*.filepart`, and hidden ones such as `.name.a1B2c3` of rsync. A rename of `x.part` to `x` is the arrival of `x`.
      So are links, and folders named `.inhaul`. `.inhaulignore` files count, as in an ingest of the folder.
    - If a round fails, for example because a server does not answer, its report has one failure, with the path of the
      folder. The round is tried again after a pause of 1 s, then 2 s, up to 60 s.
    - If the iteration ends, also by a kill, a later call finds all that is not registered.

    Memory grows with the number of files: at the start, and as long as a folder is polled, by about 350 bytes for each.

    Args:
        path: The folder.
        key: The prefix of all keys, as in `ingest`.
        run: The run that creates the artifacts. None means the current run, False no run.
        exclude: Patterns (gitignore syntax) for files to leave out.
        settle: Seconds for which a file must not change. None means 0.3 s, or half of `poll` on a network file system.
        poll: Seconds between two looks at all files. None means that the kernel reports changes, and for a folder on a
            network file system or FUSE 5 s.
        when_exists: A marker, such as `"{folder}/CopyComplete.txt"`. Only files are taken that are in a folder, at any
            depth, whose marker exists.

    Raises:
        TypeError: An argument has the wrong type.
        InvalidKey: `key`, or the name of the folder, is not a valid key.
        ValueError: A number is out of range, a pattern is wrong, `when_exists` does not begin with `{folder}`, or the
            folder lies in a storage and `key` is another path.
        FileNotFoundError: There is no such folder.
        NotADirectoryError: The path is a file.
        UnsupportedStorage: The folder is in a bucket.
    """
    instance = current()
    folder = Folder(
        instance,
        path,
        key,
        active_run(run, instance),
        duplicates="keep",
        exclude=exclude,
        follow_symlinks=False,
        errors="report",
        memo=None,
        rehash=False,
        ignore_files=True,
    )
    _check_seconds("settle", settle)
    _check_seconds("poll", poll, above=0.0)
    if when_exists is not None:
        if not isinstance(when_exists, str):
            raise TypeError(f"when_exists={when_exists!r}: pass a text")
        if not when_exists.startswith(FOLDER) or when_exists == FOLDER:
            raise ValueError(f"when_exists={when_exists!r}: begin with {FOLDER}, as in '{FOLDER}/CopyComplete.txt'")
    return _reports(folder, settle, poll, when_exists)


def _check_seconds(name: str, value: object, above: float | None = None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r}: pass seconds")
    if not (0 <= value <= _LONGEST) or value == above:
        raise ValueError(
            f"{name}={value!r}: pass {'more than ' if above is not None else ''}0 to {_LONGEST:,.0f} seconds"
        )


async def _reports(
    folder: Folder, settle: float | None, poll: float | None, when_exists: str | None
) -> AsyncGenerator[IngestReport]:
    job = await folder.where()
    if job.address is not None:
        raise UnsupportedStorage(f"{job.address}: watch a folder of this machine")
    root = str(job.path)
    is_shared = await asyncio.to_thread(network_filesystem, job.path) is not None
    interval = poll if poll is not None else POLL
    lookout = Polling(root, interval) if is_shared or poll is not None else Events(root)
    waiting = Waiting(settle if settle is not None else interval / 2 if is_shared else SETTLE, is_shared=is_shared)
    marker = Marker(root, when_exists.removeprefix(FOLDER)) if when_exists is not None else None
    rounds = Rounds(folder, job, lookout, waiting, marker)
    try:
        while True:
            for report in await rounds.next():
                yield report
    finally:
        rounds.close()

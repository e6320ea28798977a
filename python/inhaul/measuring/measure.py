"""The public function that measures a place before an ingest."""

import asyncio
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from inhaul.arguments import check_path
from inhaul.errors import UnsupportedStorage
from inhaul.ingestion.scan import Root
from inhaul.instance import Instance, current
from inhaul.measuring import rows, source, target
from inhaul.measuring.report import MeasuredStep, MeasureReport
from inhaul.stores.locations import resolved
from inhaul.stores.schemes import as_text, is_remote, relative_key, resolved_root, writer

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


async def measure(path: "Pathish", *, storage: "Pathish | None" = None) -> MeasureReport:
    """Measures how fast an ingest will be: each of its steps, for a second or two, on a sample of the files.

    The files are only read. Objects are stored below `.inhaul/bench-...` in the storage, at most 200 MB, and are
    removed at the end, also if the call fails or is cancelled. Rows are written to a new SQLite file beside the
    registry, or on PostgreSQL in a transaction that is rolled back.

    Files that the system has in its cache are read faster, so a second call may report more than a first one.

    Args:
        path: A folder with files, or a file.
        storage: Root of the storage to write to. None means the default storage of the current instance; if that is a
            folder that does not exist yet, writing is not measured. It is not measured either if the files are in the
            storage already, since they are then registered where they are.

    Raises:
        FileNotFoundError: There is no such folder or file.
        OSError: The folder, or none of its files, can be read.
        ValueError: There are no files in the folder.
        TypeError: `path` or `storage` is not a path.
        UnsupportedStorage: `path` is an address, or the storage can only be read.
        StorageMissing: There is no such bucket.
        StorageDenied: The credentials are missing or refused, or this user may not write to the storage.
        StorageUnavailable: The storage gave no valid answer.
        StorageFull: The storage or the disk of the registry is full.
        DatabaseDenied: This user may not write to the registry or beside it.
        DatabaseUnreachable: The server of the registry does not answer, or refuses.
    """
    check_path(path)
    if storage is not None:
        check_path(storage)
    text = as_text(path)
    if is_remote(text):
        raise UnsupportedStorage(f"{text} is an address: pass a folder or a file on this machine")
    given, name = await asyncio.to_thread(_place, text)
    instance = current()
    root = await asyncio.to_thread(resolved_root, as_text(storage)) if storage is not None else instance.root
    opened = await asyncio.to_thread(Root, given if name is None else given.parent)
    steps = []
    if name is None:
        walked = await source.walk(opened)
        paths, is_complete = walked.paths, walked.is_complete
        steps.append(walked.step)
    else:
        paths, is_complete = [name], True
    if not paths:
        raise ValueError(f"{given} holds no files: pass a folder with files like those that you will ingest")
    files, step = await source.open_some(opened, paths)
    steps.append(step)
    read, step = await source.read(opened, files)
    steps += [step, await source.hash_in_memory()]
    mean = source.mean_size(files)
    reason = await _not_written(instance, given, root, is_given=storage is not None)
    if reason is not None:
        steps.append(MeasuredStep("put" if is_remote(root) else "copy", detail=reason))
    elif is_remote(root):
        steps.append(await target.put(writer(instance.store(root)), mean))
    else:
        steps.append(await target.copy(writer(instance.store(root)), opened, read))
    steps.append(await rows.write_rows(instance.database))
    return MeasureReport(str(given), root if reason is None else None, len(paths), is_complete, mean, steps)


def _place(path: str) -> tuple[Path, str | None]:
    """Returns the path without links, and its name if it is a file."""
    given = resolved(path)
    if given.is_dir():
        return given, None
    if not given.is_file():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder or file", path)
    return given, given.name


async def _not_written(instance: Instance, path: Path, root: str, *, is_given: bool) -> str | None:
    """Returns the reason why an ingest will write nothing, or why it is not known where; None if it will write."""
    inside = root if relative_key(str(path), root) is not None else None
    if inside is None and (known := await instance.storages.of(str(path))) is not None:
        inside = known.root
    if inside is not None:
        return f"the files are in the storage {inside} already"
    if not is_given and not is_remote(root) and not await asyncio.to_thread(os.path.isdir, root):
        return f"there is no storage at {root} yet, and none was named"
    return None

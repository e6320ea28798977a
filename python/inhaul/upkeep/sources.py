"""What artifacts were made from, as far as it is still there, to store them again."""

import asyncio
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from inhaul.arguments import check_path
from inhaul.db.objects import Row
from inhaul.stores.locations import as_text, resolved
from inhaul.stores.schemes import is_remote

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


class Sources:
    """Files and folders that may be what artifacts were made from. Whoever takes one compares its content.

    Args:
        known: By the uids of artifacts.
        place: A file, or a folder in which a file is looked for by the end of the artifact's key.
    """

    def __init__(self, known: Mapping[str, Path] | None = None, place: Path | None = None) -> None:
        self._known = known or {}
        self._place = place

    @classmethod
    async def at(cls, place: "Pathish | None", *, repair: bool) -> "Sources":
        """Those at a path that a user gives.

        Raises:
            TypeError: It is no path.
            ValueError: It is on S3, or there is nothing to repair.
            FileNotFoundError: There is no such file or folder.
        """
        if place is None:
            return cls()
        check_path(place)
        if not repair:
            raise ValueError(f"source={place!r} is for repairs: pass repair=True, too")
        if is_remote(as_text(place)):
            raise ValueError(f"source={place!r}: pass a folder or file of this machine")
        path = await asyncio.to_thread(resolved, as_text(place))
        if not await asyncio.to_thread(path.exists):
            raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", str(path))
        return cls(place=path)

    def of(self, row: Row) -> Iterator[Path]:
        """Those of an artifact, the likeliest first. Looks at the disk."""
        for path in self._candidates(row):
            if path.is_dir() if row.n_objects is not None else path.is_file() and path.stat().st_size == row.size:
                yield path

    def _candidates(self, row: Row) -> Iterator[Path]:
        if row.uid in self._known:
            yield self._known[row.uid]
        if self._place is None:
            return
        parts = PurePosixPath(row.key or "").parts
        if self._place.is_file() or self._place.name in parts[-1:]:
            yield self._place
        for start in range(len(parts)):
            yield self._place.joinpath(*parts[start:])

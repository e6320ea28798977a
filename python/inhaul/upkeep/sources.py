"""Finds the files and folders that artifacts were made from, for repairs."""

import asyncio
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from inhaul.arguments import check_path
from inhaul.db.objects import Row
from inhaul.stores.locations import resolved
from inhaul.stores.schemes import as_text, is_remote, locate

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


class Sources:
    """Files and folders from which artifacts may have been made. The caller must compare their content.

    Args:
        known: Paths by the uid of their artifact.
        place: A file, or a folder to search for a path that matches the end of the artifact's key.
    """

    def __init__(self, known: Mapping[str, Path] | None = None, place: Path | None = None) -> None:
        self._known = known or {}
        self._place = place

    @classmethod
    async def at(cls, place: "Pathish | None", *, repair: bool) -> "Sources":
        """Returns the sources at a path that the user passed.

        Raises:
            TypeError: The value is not a path.
            UnsupportedStorage: The path is a wrong address.
            ValueError: The path is in a bucket, or `repair` is False.
            FileNotFoundError: There is no such file or folder.
        """
        if place is None:
            return cls()
        check_path(place)
        if not repair:
            raise ValueError(f"source={place!r} is for repairs: pass repair=True, too")
        if is_remote(as_text(place)):
            raise ValueError(f"source={str(locate(as_text(place)))!r}: pass a folder or file on this machine")
        path = await asyncio.to_thread(resolved, as_text(place))
        if not await asyncio.to_thread(path.exists):
            raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", str(path))
        return cls(place=path)

    def of(self, row: Row) -> Iterator[Path]:
        """Yields the possible sources of an artifact, the likeliest first. Blocks."""
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

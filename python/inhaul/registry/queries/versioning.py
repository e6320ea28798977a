"""Versions: a family of records for the same thing."""

from typing import TYPE_CHECKING, ClassVar, Self, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import families
from inhaul.errors import NotStaged
from inhaul.keys import stem
from inhaul.registry.model.fields import Field
from inhaul.texts import check_name, shown

if TYPE_CHECKING:
    from inhaul.registry.model.base import Record
    from inhaul.registry.model.world import World
    from inhaul.registry.queries.query_set import QuerySet

_LONGEST = 30  # characters of a version


class IsVersioned:
    """A record that belongs to a family of versions.

    The uids of a family share their first 16 characters. The last four count the versions.
    """

    _world: ClassVar["World"]
    _is_staged: bool
    _uid: str
    _version: str | None
    _is_latest: bool
    _given_version: str | None = None  # a version chosen by a user; other versions are numbered

    uid = Field[str]()
    is_latest = Field[bool]()

    @property
    def version(self) -> str | None:
        """The name of this version: a text of 1 to 30 characters, unique in the family.

        If you choose no name, the first version has None until there is a second one, then "1". A later version is
        named by a number: the highest major number of the family plus one. If no version starts with a number, saving
        it raises `ValueError`.

        Raises:
            NotStaged: You chose no name, and the record is not staged.
            TypeError: The assigned name is not a text.
            ValueError: The assigned name is empty, too long, or holds a character that no database can store. If the
                name is used in the family, `save()` raises this error.
        """
        if self._version is None and not self._is_staged:
            raise NotStaged(f"version of {self!r} is not known yet: await it first")
        return self._version

    @version.setter
    def version(self, value: str) -> None:
        self._version = self._given_version = checked_version(value)

    @property
    def stem_uid(self) -> str:
        """The first 16 characters of the uid, which all versions share."""
        return stem(self.uid)

    @property
    def versions(self) -> "QuerySet[Self]":
        """A query set of the whole family, the oldest first, including hidden versions and those in the trash."""
        family: QuerySet[Self] = self._world["QuerySet"](type(self), instance=cast("Record", self)._home)
        return family.filter(uid__startswith=self.stem_uid).order_by("uid")


def checked_version(value: str) -> str:
    """Checks and returns the name of a version.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, too long, or holds a character that no database can store.
    """
    check_name("version", value)
    if len(value) > _LONGEST:
        raise ValueError(f"version={shown(value)}: pass a text of 1 to {_LONGEST} characters")
    return value


async def check_unused(conn: AsyncConnection, uid: str, version: str) -> None:
    """Raises if another record of the family has this version. Locks the family, so no other can take it meanwhile.

    Raises:
        ValueError: The version is used.
    """
    await families.lock(conn, [uid])
    for other, used in (await families.versions_of(conn, [uid])).items():
        if other != uid and (used or "1") == version:
            raise ValueError(f"Artifact {other} of the same family has version {version!r}: choose another one")

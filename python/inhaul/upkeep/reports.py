"""The reports of `verify` and `gc`."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Defect(StrEnum):
    """A defect of an object."""

    MISSING = "missing"
    """The object is missing."""
    TRUNCATED = "truncated"
    """It has fewer bytes than are registered."""
    WRONG_SIZE = "wrong_size"
    """It has more bytes than are registered, or the registered hash with another size."""
    SWAPPED = "swapped"
    """It has the content of another artifact."""
    ALTERED = "altered"
    """It has the registered size, but other content."""
    UNREADABLE = "unreadable"
    """It cannot be read."""
    EXTRA = "extra"
    """No artifact refers to it."""


@dataclass(slots=True)
class Finding:
    """An object that is not as registered.

    Attributes:
        defect: The defect. None for an object that a later version replaced in place.
        path: The path where the object is, or should be.
        key: The key of the artifact; None if it has none, and for an extra object.
        uid: The uid of the artifact; None for an extra object.
        detail: The details of the finding, and the outcome of a repair.
        repaired: Whether the object was stored again.
    """

    defect: Defect | None
    path: str
    key: str | None
    uid: str | None
    detail: str
    repaired: bool = False


@dataclass(slots=True)
class VerifyReport:
    """The outcome of `verify`.

    Attributes:
        checked: The number of artifacts whose objects were compared with the registry.
        trusted: The number of artifacts that were skipped, because they were verified before and their objects have not
            changed.
        unhashed: The number of checked artifacts with only an ETag: their ETags and sizes were compared.
        read: Bytes of the objects that were read to compare them.
        findings: The objects that differ from the registry, including those that were repaired.
        superseded: Older versions whose bytes a later version replaced in place. The registry recorded that, so they
            are no errors.
        seconds: Wall time in seconds.
    """

    checked: int = 0
    trusted: int = 0
    unhashed: int = 0
    read: int = 0
    findings: list[Finding] = field(default_factory=list)
    superseded: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if all objects are now as registered, and there are no extra objects."""
        return all(finding.repaired for finding in self.findings)

    @property
    def totals(self) -> dict[str, int]:
        """The numbers of artifacts and of findings, and the bytes that were read."""
        names = ("checked", "trusted", "unhashed", "read")
        lists = {"findings": len(self.findings), "superseded": len(self.superseded)}
        return {name: getattr(self, name) for name in names} | lists

    @property
    def counts(self) -> Counter[Defect]:
        """The number of findings by defect."""
        return Counter(finding.defect for finding in self.findings if finding.defect is not None)


@dataclass(slots=True)
class GcReport:
    """The outcome of `gc`.

    Attributes:
        deleted: True if the garbage was deleted, False if it was only listed.
        objects: Paths of objects that no artifact refers to.
        uploads: Keys of uploads in parts that were never completed.
        temporaries: Paths of unfinished files for objects or for copies in the cache.
        sessions: Paths of session files. A crashed ingest can continue as long as its session file exists.
        bytes: Bytes of the objects and temporaries; those of uploads and sessions are not counted.
    """

    deleted: bool
    objects: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    bytes: int = 0

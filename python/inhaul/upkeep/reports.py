"""What `verify` and `gc` tell."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Defect(StrEnum):
    """What is wrong with an object."""

    MISSING = "missing"
    """It is not there."""
    TRUNCATED = "truncated"
    """It has fewer bytes than are registered."""
    WRONG_SIZE = "wrong_size"
    """It has more bytes than are registered, or the right content under a wrong size."""
    SWAPPED = "swapped"
    """It has the content of another artifact."""
    ALTERED = "altered"
    """It has other bytes, of the same number."""
    UNREADABLE = "unreadable"
    """It cannot be read."""
    EXTRA = "extra"
    """No artifact refers to it."""


@dataclass(slots=True)
class Finding:
    """An object that is not as registered.

    Attributes:
        defect: What is wrong; None for one that a later version replaced in place.
        path: Where it is, or should be.
        key: The artifact's key.
        uid: The artifact; None for an extra object.
        detail: What was found, and what became of a repair.
        repaired: Whether it was stored again.
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
        checked: Artifacts whose objects were compared with the registry.
        trusted: Artifacts that were not, since they were verified before and their objects have not changed.
        unhashed: Artifacts of those checked that only have an ETag, so that it and the size were compared.
        read: Bytes read.
        findings: What is not as registered.
        superseded: Older versions whose bytes were replaced in place, as the registry knows.
        seconds: Wall time.
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
        """Whether every object is, by now, as registered, and none is extra."""
        return all(finding.repaired for finding in self.findings)

    @property
    def counts(self) -> Counter[Defect]:
        """Findings by defect."""
        return Counter(finding.defect for finding in self.findings if finding.defect is not None)


@dataclass(slots=True)
class GcReport:
    """The outcome of `gc`.

    Attributes:
        deleted: Whether it was deleted, or only found.
        objects: Paths of objects that no artifact refers to.
        uploads: Keys of uploads in parts that were never completed.
        temporaries: Paths of files that were to become objects or copies in the cache.
        sessions: Paths of what crashed ingests left to be gone on with.
        bytes: Size of the objects and temporaries.
    """

    deleted: bool
    objects: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    bytes: int = 0

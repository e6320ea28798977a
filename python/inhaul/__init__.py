"""Async, high-throughput ingestion of files into a governed artifact store.

    import inhaul

    async with inhaul.connect(storage="data"):
        artifacts = await inhaul.Artifact.from_dir("plates").save()

The blocking twin for notebooks and scripts is `inhaul.sync`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inhaul.settings import settings

if TYPE_CHECKING:
    from inhaul.ingestion.report import IngestEvent, IngestReport, Issue, Reason, Status
    from inhaul.instance import Instance, connect
    from inhaul.registry import Artifact, ArtifactList, QuerySet, Run, Storage, Transform, User, Visibility, ingest

__all__ = (
    "Artifact",
    "ArtifactList",
    "IngestEvent",
    "IngestReport",
    "Instance",
    "Issue",
    "QuerySet",
    "Reason",
    "Run",
    "Status",
    "Storage",
    "Transform",
    "User",
    "Visibility",
    "connect",
    "ingest",
    "settings",
)

_HOMES = {
    "inhaul.instance": ("Instance", "connect"),
    "inhaul.ingestion.report": ("IngestEvent", "IngestReport", "Issue", "Reason", "Status"),
    "inhaul.registry": (
        "Artifact",
        "ArtifactList",
        "QuerySet",
        "Run",
        "Storage",
        "Transform",
        "User",
        "Visibility",
        "ingest",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports what is used when it is used, so that `import inhaul` is cheap (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'inhaul' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

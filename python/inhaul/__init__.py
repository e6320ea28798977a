"""Async, high-throughput ingestion of files into a registry of artifacts.

A folder becomes artifacts, one for each file::

    import inhaul

    async with inhaul.connect(storage="data"):
        artifacts = await inhaul.Artifact.from_dir("plates").save()

The blocking twin for notebooks and scripts is `inhaul.sync`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inhaul.settings import settings

if TYPE_CHECKING:
    from inhaul import core as core
    from inhaul import datasets as datasets
    from inhaul.ingestion.report import Change, IngestEvent, IngestReport, Issue, Missing, Moved, Reason, Status
    from inhaul.instance import Instance, connect
    from inhaul.measuring.measure import measure
    from inhaul.measuring.report import MeasuredStep, MeasureReport
    from inhaul.registry import (
        AnnDataAccessor,
        Artifact,
        ArtifactList,
        BackedAccessor,
        BackedElement,
        Collection,
        Feature,
        FeatureManager,
        FeatureSet,
        FeatureValue,
        LabelManager,
        QuerySet,
        Run,
        Storage,
        Transform,
        ULabel,
        User,
        Visibility,
        annotate,
        finish,
        gc,
        ingest,
        save,
        track,
        tracked,
        verify,
    )
    from inhaul.stores.abilities import Ability, RemoteReport
    from inhaul.stores.probe import testremote
    from inhaul.upkeep.reports import Defect, Finding, GcReport, VerifyReport
    from inhaul.watching.watch import watch

__all__ = (
    "Ability",
    "AnnDataAccessor",
    "Artifact",
    "ArtifactList",
    "BackedAccessor",
    "BackedElement",
    "Change",
    "Collection",
    "Defect",
    "Feature",
    "FeatureManager",
    "FeatureSet",
    "FeatureValue",
    "Finding",
    "GcReport",
    "IngestEvent",
    "IngestReport",
    "Instance",
    "Issue",
    "LabelManager",
    "MeasureReport",
    "MeasuredStep",
    "Missing",
    "Moved",
    "QuerySet",
    "Reason",
    "RemoteReport",
    "Run",
    "Status",
    "Storage",
    "Transform",
    "ULabel",
    "User",
    "VerifyReport",
    "Visibility",
    "annotate",
    "connect",
    "finish",
    "gc",
    "ingest",
    "measure",
    "save",
    "settings",
    "testremote",
    "track",
    "tracked",
    "verify",
    "watch",
)

# The modules of names that are not in `inhaul.registry`.
_HOMES = {
    "inhaul.instance": ("Instance", "connect"),
    "inhaul.measuring.measure": ("measure",),
    "inhaul.measuring.report": ("MeasureReport", "MeasuredStep"),
    "inhaul.stores.abilities": ("Ability", "RemoteReport"),
    "inhaul.stores.probe": ("testremote",),
    "inhaul.upkeep.reports": ("Defect", "Finding", "GcReport", "VerifyReport"),
    "inhaul.watching.watch": ("watch",),
    "inhaul.ingestion.report": (
        "Change",
        "IngestEvent",
        "IngestReport",
        "Issue",
        "Missing",
        "Moved",
        "Reason",
        "Status",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("core", "datasets")  # modules that users need not import separately


def __getattr__(name: str) -> Any:
    """Imports a name at its first use, so that `import inhaul` is fast (PEP 562)."""
    if name in _MODULES:
        return import_module(f"inhaul.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'inhaul' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF.get(name, "inhaul.registry")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Further classes: the base classes of registries, and the types that records return."""

from inhaul import datasets
from inhaul.registry import (
    AnnDataAccessor,
    ArtifactList,
    BackedAccessor,
    FeatureManager,
    LabelManager,
    QuerySet,
    Visibility,
)
from inhaul.registry.annotation.managers import HasFeatures
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.queries.registry import Registry
from inhaul.registry.queries.versioning import IsVersioned
from inhaul.registry.records.run import TracksRun

__all__ = (
    "AnnDataAccessor",
    "ArtifactList",
    "BackedAccessor",
    "FeatureManager",
    "HasFeatures",
    "IsVersioned",
    "LabelManager",
    "QuerySet",
    "Registry",
    "TracksRun",
    "TracksUpdates",
    "Visibility",
    "datasets",
)

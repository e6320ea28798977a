"""What is beside the registries: their bases, what their records and queries hand out, and sample data."""

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
from inhaul.registry.base import Registry
from inhaul.registry.features import HasFeatures
from inhaul.registry.tracking import TracksRun, TracksUpdates
from inhaul.registry.versioning import IsVersioned

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

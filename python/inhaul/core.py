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
from inhaul.registry.annotation.managers import HasFeatures
from inhaul.registry.model.base import Registry
from inhaul.registry.model.tracking import TracksRun, TracksUpdates
from inhaul.registry.queries.versioning import IsVersioned

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

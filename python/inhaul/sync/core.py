"""The names of `inhaul.core`, as those of the blocking API."""

from inhaul import core, datasets
from inhaul._blocking import twin
from inhaul.sync import (
    AnnDataAccessor,
    ArtifactList,
    BackedAccessor,
    FeatureManager,
    LabelManager,
    QuerySet,
    Visibility,
)

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

HasFeatures = twin(core.HasFeatures)
IsVersioned = twin(core.IsVersioned)
Registry = twin(core.Registry)
TracksRun = twin(core.TracksRun)
TracksUpdates = twin(core.TracksUpdates)

from inhaul import datasets
from inhaul.sync import (
    AnnDataAccessor,
    ArtifactList,
    BackedAccessor,
    FeatureManager,
    LabelManager,
    QuerySet,
    Visibility,
)
from inhaul.sync import (
    _HasFeatures as HasFeatures,
)
from inhaul.sync import (
    _IsVersioned as IsVersioned,
)
from inhaul.sync import (
    _Registry as Registry,
)
from inhaul.sync import (
    _TracksRun as TracksRun,
)
from inhaul.sync import (
    _TracksUpdates as TracksUpdates,
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

"""What users hold: records of the registry, lists of them, and queries for them."""

from inhaul.registry.artifact import Artifact, Visibility
from inhaul.registry.artifact_list import ArtifactList
from inhaul.registry.folder import ingest
from inhaul.registry.query import QuerySet
from inhaul.registry.related import Related
from inhaul.registry.run import Run, Transform
from inhaul.registry.storage import Storage
from inhaul.registry.user import User
from inhaul.registry.world import World

__all__ = (
    "Artifact",
    "ArtifactList",
    "QuerySet",
    "Related",
    "Run",
    "Storage",
    "Transform",
    "User",
    "Visibility",
    "ingest",
)

asynchronous = World()
asynchronous.add(User, Storage, Transform, Run, Artifact, ArtifactList, QuerySet, Related)
asynchronous.map()

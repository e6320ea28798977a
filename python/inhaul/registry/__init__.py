"""What users hold: records of the registry, lists of them, and queries for them."""

from inhaul.formats.accessor import AnnDataAccessor as AnnDataAccessor
from inhaul.formats.accessor import BackedElement as BackedElement
from inhaul.formats.backed import BackedAccessor as BackedAccessor
from inhaul.registry.annotation import annotate as annotate
from inhaul.registry.artifact import Artifact as Artifact
from inhaul.registry.artifact_list import ArtifactList as ArtifactList
from inhaul.registry.collection import Collection as Collection
from inhaul.registry.collection import Members as Members
from inhaul.registry.context import finish as finish
from inhaul.registry.context import track as track
from inhaul.registry.context import tracked as tracked
from inhaul.registry.feature import Feature as Feature
from inhaul.registry.feature import FeatureSet as FeatureSet
from inhaul.registry.feature import FeatureValue as FeatureValue
from inhaul.registry.features import FeatureManager as FeatureManager
from inhaul.registry.features import FeatureSets as FeatureSets
from inhaul.registry.features import LabelManager as LabelManager
from inhaul.registry.folder import ingest as ingest
from inhaul.registry.garbage import gc as gc
from inhaul.registry.many import save as save
from inhaul.registry.query import QuerySet as QuerySet
from inhaul.registry.related import Fixed as Fixed
from inhaul.registry.related import Related as Related
from inhaul.registry.run import Run as Run
from inhaul.registry.run import Transform as Transform
from inhaul.registry.storage import Storage as Storage
from inhaul.registry.ulabel import Hierarchy as Hierarchy
from inhaul.registry.ulabel import ULabel as ULabel
from inhaul.registry.user import User as User
from inhaul.registry.verification import verify as verify
from inhaul.registry.visibility import Visibility as Visibility
from inhaul.registry.world import World

asynchronous = World()
asynchronous.add(User, Storage, Transform, Run, Artifact, ArtifactList, QuerySet, Related, Fixed)
asynchronous.add(Feature, FeatureSet, FeatureValue, FeatureManager, FeatureSets, LabelManager, ULabel, Hierarchy)
asynchronous.add(AnnDataAccessor, BackedAccessor, BackedElement)
asynchronous.add(Collection, Members)
asynchronous.map()

"""The classes that users work with: records of the registry, lists of them, and queries."""

from inhaul.formats.accessor import AnnDataAccessor as AnnDataAccessor
from inhaul.formats.accessor import BackedElement as BackedElement
from inhaul.formats.backed import BackedAccessor as BackedAccessor
from inhaul.registry.annotation.annotate import annotate as annotate
from inhaul.registry.annotation.managers import FeatureManager as FeatureManager
from inhaul.registry.annotation.managers import FeatureSets as FeatureSets
from inhaul.registry.annotation.managers import LabelManager as LabelManager
from inhaul.registry.artifact import Artifact as Artifact
from inhaul.registry.artifact_list import ArtifactList as ArtifactList
from inhaul.registry.collection import Collection as Collection
from inhaul.registry.collection import Members as Members
from inhaul.registry.lineage.current_run import finish as finish
from inhaul.registry.lineage.current_run import track as track
from inhaul.registry.lineage.current_run import tracked as tracked
from inhaul.registry.model.visibility import Visibility as Visibility
from inhaul.registry.model.world import World
from inhaul.registry.queries.query_set import QuerySet as QuerySet
from inhaul.registry.queries.related import Fixed as Fixed
from inhaul.registry.queries.related import Related as Related
from inhaul.registry.records.feature import Feature as Feature
from inhaul.registry.records.feature import FeatureSet as FeatureSet
from inhaul.registry.records.feature import FeatureValue as FeatureValue
from inhaul.registry.records.run import Run as Run
from inhaul.registry.records.run import Transform as Transform
from inhaul.registry.records.storage import Storage as Storage
from inhaul.registry.records.storage import verify as verify
from inhaul.registry.records.ulabel import Hierarchy as Hierarchy
from inhaul.registry.records.ulabel import ULabel as ULabel
from inhaul.registry.records.user import User as User
from inhaul.registry.save_many import save as save
from inhaul.registry.verbs.folder import ingest as ingest
from inhaul.registry.verbs.garbage import gc as gc

asynchronous = World()
asynchronous.add(User, Storage, Transform, Run, Artifact, ArtifactList, QuerySet, Related, Fixed)
asynchronous.add(Feature, FeatureSet, FeatureValue, FeatureManager, FeatureSets, LabelManager, ULabel, Hierarchy)
asynchronous.add(AnnDataAccessor, BackedAccessor, BackedElement)
asynchronous.add(Collection, Members)
asynchronous.map()

"""The features, labels and values of an artifact."""

import errno
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, overload

from sqlalchemy import delete, literal, select, union_all

from inhaul.db import tables
from inhaul.db.annotations import LabelLink
from inhaul.db.bulk import insert_into
from inhaul.db.membership import is_in
from inhaul.errors import KeyExists
from inhaul.registry.annotation.annotate import annotate, write
from inhaul.registry.model import dtypes
from inhaul.registry.model.world import check_record
from inhaul.registry.queries.registry import Registry
from inhaul.registry.queries.related import ManyToMany, Related, id_in
from inhaul.registry.queries.value_lookups import value_condition
from inhaul.texts import check_name, check_text

if TYPE_CHECKING:
    from inhaul.registry.model.base import Record
    from inhaul.registry.model.world import World
    from inhaul.registry.queries.query_set import QuerySet
    from inhaul.registry.records.feature import Feature, FeatureSet
    from inhaul.registry.records.ulabel import ULabel

_feature, _value, _set = tables.feature, tables.feature_value, tables.artifact_feature_set
_valued, _labelled = tables.artifact_feature_value, tables.artifact_ulabel


class FeatureManager:
    """The features of an artifact: its feature sets by slot, and its annotations with values."""

    _world: ClassVar["World"]

    def __init__(self, artifact: "Record") -> None:
        self._artifact = artifact

    def __repr__(self) -> str:
        return f"FeatureManager({self._artifact!r})"

    def __getitem__(self, slot: str) -> "QuerySet[Feature]":
        """Selects the features measured in a slot, such as `columns`, `obs` or `rna:var`. A slot may have none."""
        check_text("slot", slot)
        linked = select(_set.c.feature_set_id).where(_set.c.artifact_id == self._artifact._id, _set.c.slot == slot)
        member = tables.feature_set_feature
        ids = select(member.c.feature_id).where(member.c.feature_set_id.in_(linked))
        registry = self._world["Feature"]
        found: QuerySet[Feature] = self._world["QuerySet"](
            registry, (registry._id.in_(ids),), instance=self._artifact._home
        )
        return found

    async def slots(self) -> list[str]:
        """Returns the names of the slots that have a feature set."""
        query = select(_set.c.slot).where(_set.c.artifact_id == self._artifact._id).order_by(_set.c.slot)
        async with self._artifact._home.database.read() as conn:
            return list((await conn.execute(query)).scalars())

    async def add_values(self, values: Mapping[str, Any]) -> None:
        """Annotates the artifact with values of features. For many artifacts, use `annotate`.

        Args:
            values: Values by feature name. A list, or another iterable such as a Series, holds several values. A value
                of a `cat[ULabel]` feature is a label or the name of one. Existing values stay.

        Raises:
            ValidationError: A name is not a registered feature, or a value does not have the dtype of its feature, or
                is not the name of a label. Nothing is written.
            ValueError: The artifact is not saved.
            TypeError: The values are not a dict by feature name.
            NoResultFound: The artifact or a label has been deleted.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"{values!r}: pass a dict of values by feature name")
        await annotate([self._artifact], values)

    async def get_values(self) -> dict[str, Any]:
        """Returns all values by feature name: a single value, or a list of several. A label gives its name."""
        return await self._values()

    async def _values(self) -> dict[str, Any]:
        id = self._artifact._id
        valued = (
            select(_feature.c.name, _feature.c.dtype, _value.c.value, _value.c.id)
            .join(_value, _value.c.feature_id == _feature.c.id)
            .join(_valued, _valued.c.feature_value_id == _value.c.id)
            .where(_valued.c.artifact_id == id)
        )
        labelled = (
            # Older releases allowed labels for features of other dtypes, so the label name must not be decoded by that
            # dtype.
            select(_feature.c.name, literal(dtypes.LABELS), tables.ulabel.c.name, tables.ulabel.c.id)
            .join(_labelled, _labelled.c.feature_id == _feature.c.id)
            .join(tables.ulabel, _labelled.c.ulabel_id == tables.ulabel.c.id)
            .where(_labelled.c.artifact_id == id)
        )
        found = defaultdict(list)
        async with self._artifact._home.database.read() as conn:
            rows = (await conn.execute(union_all(valued, labelled))).all()
        for name, dtype, text, _ in sorted(rows, key=operator.itemgetter(0, 3)):
            found[name].append(dtypes.decode(dtype, text))
        return {name: values[0] if len(values) == 1 else values for name, values in found.items()}

    async def remove_values(self, names: str | Iterable[str]) -> None:
        """Removes all values of some features. Unknown names, and features without values, are ignored.

        Args:
            names: One feature name or several.

        Raises:
            TypeError: A name is not a text.
        """
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            check_text("feature", name)
        ids = select(_feature.c.id).where(is_in(_feature.c.name, names))
        values = select(_value.c.id).where(_value.c.feature_id.in_(ids))
        id = self._artifact._id
        async with self._artifact._home.database.write() as conn:
            await conn.execute(
                delete(_valued).where(_valued.c.artifact_id == id, _valued.c.feature_value_id.in_(values))
            )
            await conn.execute(delete(_labelled).where(_labelled.c.artifact_id == id, _labelled.c.feature_id.in_(ids)))

    async def add_feature_set(self, feature_set: "FeatureSet", slot: str) -> None:
        """Links a feature set with the artifact, and saves the set if it is new.

        Raises:
            TypeError: `feature_set` is not a feature set, or the slot is not a text.
            WrongWorld: The set belongs to the other API.
            ValueError: The artifact is not saved, the slot is empty, or the set belongs to another instance.
            KeyExists: The slot has another feature set.
            NoResultFound: The artifact or the set has been deleted.
        """
        check_record(self._world, "feature_set", feature_set, "FeatureSet")
        feature_set._check_home(self._artifact._home)
        await self._add(feature_set, slot)

    async def _add(self, feature_set: "FeatureSet", slot: str) -> None:
        check_name("slot", slot)
        instance = self._artifact._home
        row = {"artifact_id": id_in(instance, self._artifact, self._world["Artifact"]), "slot": slot}
        await feature_set._save(instance)
        async with instance.database.write() as conn:
            await conn.execute(
                insert_into(_set, conn.dialect.name).on_conflict_do_nothing(),
                row | {"feature_set_id": feature_set._id},
            )
            there = select(_set.c.feature_set_id).where(*(_set.c[name] == value for name, value in row.items()))
            if (await conn.execute(there)).scalar_one() != feature_set._id:
                raise KeyExists(errno.EEXIST, f"{self._artifact!r} has another feature set in this slot", slot)


class LabelManager:
    """The labels of an artifact."""

    _world: ClassVar["World"]

    def __init__(self, artifact: "Record") -> None:
        self._artifact = artifact

    def __repr__(self) -> str:
        return f"LabelManager({self._artifact!r})"

    async def add(self, records: "ULabel | Iterable[ULabel]", feature: "Feature | None" = None) -> None:
        """Adds labels. For many artifacts, use `annotate`.

        Args:
            records: Saved labels. Existing labels stay.
            feature: The feature that the labels are values of. None adds plain labels.

        Raises:
            TypeError: An argument is not a label or a feature.
            WrongWorld: A record belongs to the other API.
            ValueError: The artifact, a label or the feature is not saved or belongs to another instance, or the feature
                is not of dtype `cat[ULabel]`.
            NoResultFound: The artifact, a label or the feature has been deleted.
        """
        await annotate([self._artifact], labels=_listed(records), feature=feature)

    def get(self, feature: "Feature") -> "QuerySet[ULabel]":
        """Selects the labels of the artifact that are values of a feature.

        Raises:
            TypeError: The argument is not a feature.
            WrongWorld: The feature belongs to the other API.
            ValueError: The feature is not saved, or belongs to another instance.
        """
        feature_id = id_in(self._artifact._home, feature, self._world["Feature"])
        ids = select(_labelled.c.ulabel_id).where(
            _labelled.c.artifact_id == self._artifact._id, _labelled.c.feature_id == feature_id
        )
        registry = self._world["ULabel"]
        found: QuerySet[ULabel] = self._world["QuerySet"](
            registry, (registry._id.in_(ids),), instance=self._artifact._home
        )
        return found

    async def remove(self, records: "ULabel | Iterable[ULabel]", feature: "Feature | None" = None) -> None:
        """Removes labels from the artifact. Labels that it does not have are ignored.

        Args:
            records: The labels.
            feature: Remove the labels only as values of this feature. None removes them as values of all features, and
                as plain labels.

        Raises:
            TypeError: An argument is not a label or a feature.
            WrongWorld: A record belongs to the other API.
            ValueError: A label or the feature is not saved, or belongs to another instance.
        """
        instance = self._artifact._home
        ids = [id_in(instance, label, self._world["ULabel"]) for label in _listed(records)]
        conditions = [_labelled.c.artifact_id == self._artifact._id, is_in(_labelled.c.ulabel_id, ids)]
        if feature is not None:
            conditions.append(_labelled.c.feature_id == id_in(instance, feature, self._world["Feature"]))
        async with instance.database.write() as conn:
            await conn.execute(delete(_labelled).where(*conditions))

    async def add_from(self, other: "Record") -> None:
        """Adds all labels of another artifact, with the same features.

        Raises:
            TypeError: The argument is not an artifact.
            WrongWorld: The other artifact belongs to the other API.
            ValueError: One of the artifacts is not saved, or they belong to different instances.
            NoResultFound: The artifact, or one of the labels, has been deleted.
        """
        instance, registry = self._artifact._home, self._world["Artifact"]
        id, other_id = (id_in(instance, artifact, registry) for artifact in (self._artifact, other))
        query = select(_labelled.c.ulabel_id, _labelled.c.feature_id).where(_labelled.c.artifact_id == other_id)
        async with instance.database.read() as conn:
            links = [LabelLink(id, *row) for row in (await conn.execute(query)).all()]
        await write(self._world, instance, [id], [{}], [links])


def _listed(labels: "ULabel | Iterable[ULabel]") -> "list[ULabel]":
    return list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]


class Annotated:
    """Finds the records of a registry by the feature values they are annotated with."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def filter(self, **values: Any) -> "QuerySet[Any]":
        """Selects records with all these values: `feature=value` or `feature__op=value`. A label is given by its name.

        Numbers of all types are compared by value. Only records with the default visibility are selected. The query
        raises `ValidationError` when it runs, if a feature is unknown or cannot have the value.

        Raises:
            TypeError: No feature can have the value, or the operator does not accept it.
            ValueError: No database can store a name or a value.
        """
        query: QuerySet[Any] = self._registry.filter()
        conditions = tuple(value_condition(self._registry, lookup, value) for lookup, value in values.items())
        return query._with(conditions=query._conditions + conditions, features=values)


class _Features:
    """`features`: on a record, its manager; on a class, an `Annotated` to find records by their values."""

    @overload
    def __get__(self, record: None, owner: type) -> Annotated: ...
    @overload
    def __get__(self, record: Registry, owner: type) -> FeatureManager: ...
    def __get__(self, record: Registry | None, owner: type) -> Annotated | FeatureManager:
        if record is None:
            return Annotated(owner)
        manager: FeatureManager = record._world["FeatureManager"](record)
        return manager


class FeatureSets(Related["FeatureSet"]):
    """The feature sets of a record. A set that is added here gets its own uid as slot."""

    def _row(self, other: "FeatureSet") -> dict[str, Any]:
        return Related._row(self, other) | {"slot": other._uid}


class HasFeatures:
    """A record that can be annotated with features and labels."""

    features = _Features()

    feature_sets = ManyToMany(_set, "FeatureSet", manager="FeatureSets")
    feature_values = ManyToMany(_valued, "FeatureValue")
    ulabels = ManyToMany(_labelled, "ULabel")

    @property
    def labels(self) -> LabelManager:
        """The labels of the record: plain ones, and those that are values of features."""
        manager: LabelManager = self._world["LabelManager"](self)  # type: ignore[attr-defined]
        return manager

"""Annotates one or many artifacts: checks feature values and labels, then writes them in a few statements."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from inhaul.db import annotations, tables
from inhaul.db.annotations import LabelLink, ValueLink, ValueRow
from inhaul.db.membership import is_in
from inhaul.errors import NoResultFound, ValidationError
from inhaul.instance import Instance
from inhaul.keys import new_uid
from inhaul.registry.model import dtypes
from inhaul.registry.model.unregistered import check_registered, problem
from inhaul.registry.queries.related import id_in
from inhaul.texts import check_name, is_storable

if TYPE_CHECKING:
    from inhaul.registry.model.base import Record
    from inhaul.registry.model.world import World
    from inhaul.registry.queries.query_set import QuerySet
    from inhaul.registry.records.feature import Feature
    from inhaul.registry.records.ulabel import ULabel

_PER_TRANSACTION = 10_000  # artifacts
_SHOWN = 10  # problems that an error lists


class _Batch(NamedTuple):
    """Checked values and labels of some artifacts."""

    values: dict[tuple[int, str], ValueRow]
    value_links: list[ValueLink]
    label_links: list[LabelLink]


async def annotate(
    artifacts: "Sequence[Record] | QuerySet[Any]",
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    labels: "Sequence[ULabel] | Sequence[Sequence[ULabel]]" = (),
    *,
    feature: "Feature | None" = None,
) -> None:
    """Adds feature values and labels to many saved artifacts, in a few round trips per 10,000.

    Args:
        artifacts: A list of artifacts, an `ArtifactList` from `Artifact.from_dir`, or a query set.
        values: Values by feature name for all artifacts, or a sequence with one such dict for each artifact. A list, or
            another iterable such as a Series, holds several values. A value of a `cat[ULabel]` feature is a label or
            the name of one.
        labels: Labels for all artifacts, or a sequence with one list of labels for each artifact.
        feature: The feature that the labels are values of. None adds plain labels.

    Raises:
        ValidationError: A name is not a registered feature, or a value does not have the dtype of its feature, or is
            not the name of a label. Nothing is written.
        TypeError: An argument is not an artifact, a label, a feature or a dict of values.
        WrongWorld: A record belongs to the other API.
        ValueError: An artifact, a label or the feature is not saved or belongs to another instance, the feature is not
            of dtype `cat[ULabel]`, or the number of values or labels differs from the number of artifacts.
        NoResultFound: An artifact or a label has been deleted. Of each 10,000 artifacts, all or none are annotated.
    """
    if isinstance(artifacts, Sequence) and not artifacts:
        return
    given: Any = artifacts
    owner = given if hasattr(given, "_artifact_ids") else given[0]
    if not hasattr(owner, "_world"):
        raise TypeError(f"{owner!r} is not an artifact: pass a list of artifacts, or a query for them")
    world, instance = owner._world, owner._instance
    if owner is given:
        ids = await owner._artifact_ids()
    else:
        ids = [id_in(instance, artifact, world["Artifact"]) for artifact in given]
    if not _is_list(labels):
        raise TypeError(f"labels={labels!r}: pass a list of labels, or one list of labels for each artifact")
    values_of_each: Any = [values or {}] if isinstance(values, Mapping | None) else values
    labels_of_each: Any = labels if any(map(_is_list, labels)) else [labels] * len(ids)
    for own in values_of_each:
        if not isinstance(own, Mapping):
            raise TypeError(f"values={own!r}: pass a dict of values by feature name")
    lists_of_each = [{name: dtypes.several(value) for name, value in own.items()} for own in values_of_each]
    if isinstance(values, Mapping | None):
        lists_of_each *= len(ids)
    for name, each in (("values", lists_of_each), ("labels", labels_of_each)):
        if len(each) != len(ids):
            raise ValueError(f"{len(each):,} {name} for {len(ids):,} artifacts: pass one for all, or one for each")
    feature_id = None
    if feature is not None:
        feature_id = id_in(instance, feature, world["Feature"])
        if feature._dtype != dtypes.LABELS:
            raise ValueError(f"{feature!r} does not take labels: register it with dtype={dtypes.LABELS!r}")
    distinct = {id(label): label for own in labels_of_each for label in own}
    label_ids = {key: id_in(instance, label, world["ULabel"]) for key, label in distinct.items()}
    links = [
        [LabelLink(artifact_id, label_ids[id(label)], feature_id) for label in own]
        for artifact_id, own in zip(ids, labels_of_each, strict=True)
    ]
    await write(world, instance, ids, lists_of_each, links)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


async def write(
    world: "World",
    instance: Instance,
    ids: Sequence[int],
    values: Sequence[Mapping[str, list[Any]]],
    labels: Sequence[Sequence[LabelLink]],
) -> None:
    """Checks the values of all artifacts, then writes them and the labels.

    Args:
        world: The API of the records.
        instance: The instance of the artifacts.
        ids: The ids of the artifacts.
        values: The new values of each artifact, by feature name.
        labels: The new labels of each artifact.

    Raises:
        ValidationError: A name is not a registered feature, or a value does not have its dtype.
        TypeError: A name is not a string.
        ValueError: A name is not valid for a feature.
        NoResultFound: An artifact or label has been deleted.
    """
    features = await _features(world, instance, values)
    known = await _label_ids(instance, features, values)
    batches = await asyncio.to_thread(_batches, world, instance, features, known, ids, values, labels)
    now = datetime.now(UTC)
    for batch in batches:
        try:
            async with instance.database.write() as conn:
                if batch.value_links:
                    await annotations.add_values(conn, batch.values.values(), batch.value_links, now)
                if batch.label_links:
                    await annotations.add_labels(conn, batch.label_links)
        except NoResultFound as error:
            raise NoResultFound("An artifact or a label has been deleted, so nothing can be linked with it") from error


async def _features(
    world: "World", instance: Instance, values: Sequence[Mapping[str, list[Any]]]
) -> dict[str, tuple[int, str]]:
    """Returns the id and dtype of each feature in the values."""
    examples = {name: value for own in values for name, value in own.items()}
    for name in examples:
        check_name("feature", name)
    table = tables.feature
    query = select(table.c.name, table.c.id, table.c.dtype).where(is_in(table.c.name, examples))
    async with instance.database.read() as conn:
        found = {name: (id, dtype) for name, id, dtype in await conn.execute(query)}
    check_registered(world, examples, found)
    return found


async def _label_ids(
    instance: Instance, features: Mapping[str, tuple[int, str]], values: Sequence[Mapping[str, list[Any]]]
) -> dict[str, int]:
    """Returns the ids of the labels named in the values."""
    labelling = [name for name, (_, dtype) in features.items() if dtype == dtypes.LABELS]
    names = (
        {item for own in values for name in labelling for item in own.get(name, ()) if _could_be_name(item)}
        if labelling
        else set()
    )
    if not names:
        return {}
    query = select(tables.ulabel.c.name, tables.ulabel.c.id).where(is_in(tables.ulabel.c.name, names))
    async with instance.database.read() as conn:
        return {name: id for name, id in await conn.execute(query)}  # noqa: C416 - rows are tuples by name only


def _could_be_name(item: object) -> bool:
    return isinstance(item, str) and is_storable(item)


def _batches(
    world: "World",
    instance: Instance,
    features: Mapping[str, tuple[int, str]],
    label_ids: Mapping[str, int],
    ids: Sequence[int],
    values: Sequence[Mapping[str, list[Any]]],
    labels: Sequence[Sequence[LabelLink]],
) -> list[_Batch]:
    """Checks the values and returns them in batches to write.

    Raises:
        ValidationError: Some values are not valid; the message lists them.
    """
    batches = []
    problems: dict[str, None] = {}
    for start in range(0, len(ids), _PER_TRANSACTION):
        batch = _Batch({}, [], [])
        part = slice(start, start + _PER_TRANSACTION)
        for id, own, linked in zip(ids[part], values[part], labels[part], strict=True):
            batch.label_links.extend(linked)
            for name, item in _items(own):
                feature_id, dtype = features[name]
                label_id = _label_id(world, instance, label_ids, item) if dtype == dtypes.LABELS else None
                encoded = dtypes.encode(dtype, item) if dtype != dtypes.LABELS else None
                if label_id is not None:
                    batch.label_links.append(LabelLink(id, label_id, feature_id))
                elif encoded is not None:
                    key = (feature_id, encoded.text)
                    if key not in batch.values:
                        batch.values[key] = ValueRow(new_uid(), feature_id, *encoded)
                    batch.value_links.append(ValueLink(id, *key))
                else:
                    problems[problem(world, name, dtype, item)] = None
        batches.append(batch)
    if problems:
        listed = [*problems][:_SHOWN]
        listed += [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise ValidationError("; ".join(listed))
    return batches


def _label_id(world: "World", instance: Instance, known: Mapping[str, int], item: Any) -> int | None:
    """Returns the id of a label given by name or as a record, None if the label is unknown."""
    if isinstance(item, str):
        return known.get(item)
    return id_in(instance, item, world["ULabel"]) if isinstance(item, world["ULabel"]) else None


def _items(values: Mapping[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    for name, items in values.items():
        for item in items:
            yield name, dtypes.plain(item)

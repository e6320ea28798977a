"""Features: measurements in artifacts, or annotations of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.arguments import check_list
from inhaul.db import tables
from inhaul.errors import KeyExists
from inhaul.hashing import hash_bytes
from inhaul.instance import Instance
from inhaul.registry.model import dtypes
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.model.rows import found
from inhaul.registry.model.world import check_record
from inhaul.registry.queries.registry import Registry
from inhaul.registry.queries.related import ManyToMany
from inhaul.registry.records.user import User
from inhaul.texts import check_name


class Feature(Registry, TracksUpdates):
    """A dimension of measurement, like a column of a table, or a property that artifacts are annotated with.

    Args:
        name: Its unique name.
        dtype: The type of its values: `int`, `float`, `number` (both of these), `bool`, `str`, `datetime`, `cat`, or
            `cat[ULabel]` for labels.

    Raises:
        TypeError: The name is not a text.
        ValueError: The dtype is unknown; or the name is empty, has more than 2,500 bytes in UTF-8, or holds a character
            that no database can store.
    """

    _name: str
    _dtype: str
    _naming = "name"
    _known_by = "name"
    _details = ("dtype",)

    name = Field[str](writable=True, check=check_name)
    dtype = Field[str]()
    created_by = Relation[User]()

    def __init__(self, name: str, dtype: str) -> None:
        if dtype not in dtypes.NAMES:
            raise ValueError(f"{dtype!r} is not a dtype: use one of {', '.join(dtypes.NAMES)}")
        check_name("name", name)
        self._name = name
        self._dtype = dtype

    def __repr__(self) -> str:
        return f"Feature(name={self._name!r}, dtype={self._dtype!r})"


class FeatureValue(Registry, TracksUpdates):
    """A value of a feature that artifacts are annotated with. `annotate` and `features.add_values` create such records.

    Raises:
        TypeError: Always, if the class is called.
    """

    _feature: Feature
    _value: str
    _number: float | None

    feature = Relation[Feature]()

    artifacts = ManyToMany(tables.artifact_feature_value, "Artifact", reverse=True)

    def __init__(self) -> None:
        raise TypeError("Feature values are made by artifact.features.add_values({name: value})")

    @property
    def value(self) -> Any:
        """The value, of the Python type that fits the dtype of the feature."""
        return dtypes.decode(self._feature._dtype, self._value)

    def __repr__(self) -> str:
        return f"FeatureValue({self._feature._name!r}, {self.value!r})"


class FeatureSet(Registry, TracksUpdates):
    """A set of features that are measured together. A set of the same features as a registered set becomes that set.

    Args:
        features: Its features. Saving the set also saves new features.

    Raises:
        TypeError: An item is not a feature.
        WrongWorld: A feature belongs to the other API.
        ValueError: There is no feature, or two have the same name.
    """

    _hash: str
    _n: int
    _members: tuple[Feature, ...] = ()

    hash = Field[str]()
    n = Field[int]()
    created_by = Relation[User]()

    features = ManyToMany(tables.feature_set_feature, "Feature", manager="Fixed")
    artifacts = ManyToMany(tables.artifact_feature_set, "Artifact", reverse=True)

    def __init__(self, features: Iterable[Feature]) -> None:
        check_list("features", features, "features")
        self._members = tuple(features)
        for member in self._members:
            check_record(self._world, "feature", member, "Feature")
        names = sorted(feature._name for feature in self._members)
        if not names or len(set(names)) < len(names):
            raise ValueError("A feature set has at least one feature, and each of them once")
        self._n = len(names)

    def __repr__(self) -> str:
        return f"FeatureSet(n={self._n}, hash={self._hash!r})"

    async def _save(self, instance: Instance) -> None:
        if self._id is not None:
            await self._write_changes(instance)
            return
        for feature in self._members:
            if feature._id is None:
                await feature._save(instance)
            feature._check_home(instance)
        if await self._is_known(instance):
            return
        try:
            await Registry._save(self, instance)
        except KeyExists:
            if not await self._is_known(instance):  # it is known if another process saved the same set meanwhile
                raise

    async def _is_known(self, instance: Instance) -> bool:
        """Becomes the registered set of the same features. Returns False if there is none."""
        async with instance.database.read() as conn:
            known = await found(conn, type(self), **self._new_columns())
        if known is not None:
            await self._become(known, instance)
        return known is not None

    def _new_columns(self) -> dict[str, Any]:
        # The hash covers uids, since a name may later belong to another feature.
        return {"hash": hash_bytes("".join(sorted(feature._uid for feature in self._members)).encode()).hash}

    async def _follow_new(self, conn: AsyncConnection, row: Mapping[str, Any]) -> None:
        rows = [{"feature_set_id": row["id"], "feature_id": feature._id} for feature in self._members]
        await conn.execute(insert(tables.feature_set_feature), rows)

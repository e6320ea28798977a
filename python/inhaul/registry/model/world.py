"""The two worlds: the async classes, and the blocking classes of `inhaul.sync`. Both map to the same tables."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import registry, relationship

from inhaul.db import tables
from inhaul.errors import WrongWorld
from inhaul.texts import shown


@dataclass(slots=True, eq=False)
class World:
    """The classes of one API, by name: the registries, query sets and lists."""

    blocking: bool = False
    classes: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.classes[name]

    def saving(self, record: str) -> str:
        """Returns the line of Python that saves a record in this API."""
        return f"{'' if self.blocking else 'await '}{record}.save()"

    def add(self, *classes: type) -> None:
        """Adds classes to this world."""
        for cls in classes:
            self.classes[cls.__name__] = cls
            cls._world = self  # type: ignore[attr-defined]

    def map(self) -> None:
        """Maps the registries to their tables.

        Each column is mapped to an attribute named with a leading underscore, which a `Field` reads. Relations are
        loaded with their record, and are never used for writing.
        """
        mapping = registry()
        for name, table in _TABLES.items():
            relations = {
                f"_{column.removesuffix('_id')}": relationship(
                    self[_TARGETS.get(column, column.removesuffix("_id").title())],
                    foreign_keys=[table.c[column]],
                    lazy="selectin",
                    viewonly=True,
                )
                for column in table.c.keys()  # noqa: SIM118 - a column collection, not a dict
                if table.c[column].foreign_keys
            }
            mapper = mapping.map_imperatively(self[name], table, properties=relations, column_prefix="_")
            # SQLAlchemy wraps the constructor in one whose signature accepts anything.
            self[name].__init__.__wrapped__ = mapper.class_manager.original_init
        # Setting an item of the params counts as a change. Associating by column would cover only the first mapped
        # class.
        MutableDict.associate_with_attribute(self["Run"]._params)


def check_record(world: World, name: str, value: Any, registry: str, *, optional: bool = False) -> None:
    """Checks that a value is a record of a registry, or None if that is allowed.

    Raises:
        WrongWorld: The record belongs to the other API.
        TypeError: The value is not such a record.
    """
    if isinstance(value, world[registry]) or (optional and value is None):
        return
    if type(value).__name__ == registry and hasattr(value, "_world"):
        raise WrongWorld(f"{name}={value!r} belongs to the other API: use inhaul or inhaul.sync for both")
    raise TypeError(f"{name}={value!r}: pass {'an' if registry == 'Artifact' else 'a'} {registry}")


def check_storage(value: Any) -> None:
    """Checks that a value is a Storage of either API, or None.

    Raises:
        TypeError: It is neither.
    """
    world = getattr(value, "_world", None)
    if value is not None and not (isinstance(world, World) and isinstance(value, world["Storage"])):
        raise TypeError(f"storage={shown(value)}: pass a Storage")


_TABLES = {
    "User": tables.user,
    "Storage": tables.storage,
    "Transform": tables.transform,
    "Run": tables.run,
    "Artifact": tables.artifact,
    "Feature": tables.feature,
    "FeatureSet": tables.feature_set,
    "FeatureValue": tables.feature_value,
    "ULabel": tables.ulabel,
    "Collection": tables.collection,
}
_TARGETS = {"created_by_id": "User"}

"""The two worlds: the async classes, and the blocking ones of `inhaul.sync`. Both are mapped onto the same tables."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import registry, relationship

from inhaul.db import tables
from inhaul.errors import WrongWorld


@dataclass(slots=True, eq=False)
class World:
    """The classes of one API, by name: the registries, and the ones that queries and lists are made of."""

    blocking: bool = False
    classes: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.classes[name]

    def saving(self, record: str) -> str:
        """The line of Python that saves a record in this API."""
        return f"{'' if self.blocking else 'await '}{record}.save()"

    def add(self, *classes: type) -> None:
        """Makes classes part of this world."""
        for cls in classes:
            self.classes[cls.__name__] = cls
            cls._world = self  # type: ignore[attr-defined]

    def map(self) -> None:
        """Maps the registries onto their tables.

        Each column gets the attribute of its name with an underscore before it, which a `Field` reads. Relations are
        loaded with their record, and never written through.
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
            # The constructor that SQLAlchemy puts in front takes anything, as far as its signature says.
            self[name].__init__.__wrapped__ = mapper.class_manager.original_init
        # Items that are set are changes. By its column, only the first class that is mapped would have it so.
        MutableDict.associate_with_attribute(self["Run"]._params)


def check_record(world: World, name: str, value: Any, registry: str, *, optional: bool = False) -> None:
    """Refuses what is no record of a registry, nor None if that means something.

    Raises:
        WrongWorld: It is such a record, but of the other API.
        TypeError: It is none.
    """
    if isinstance(value, world[registry]) or (optional and value is None):
        return
    if type(value).__name__ == registry and hasattr(value, "_world"):
        raise WrongWorld(f"{name}={value!r} belongs to the other API: use inhaul or inhaul.sync for both")
    raise TypeError(f"{name}={value!r}: pass {'an' if registry == 'Artifact' else 'a'} {registry}")


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

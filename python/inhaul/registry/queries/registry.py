"""The base of all registries: records that can be found."""

from collections.abc import Iterable
from typing import Any, Self

from inhaul.errors import NoResultFound
from inhaul.registry.model import dtypes
from inhaul.registry.model.base import Record
from inhaul.registry.queries.query_set import QuerySet


class _Objects:
    """`objects`: all records of the registry it is read from."""

    def __get__(self, record: object, owner: type) -> QuerySet[Any]:
        return owner._world["QuerySet"](owner)  # type: ignore[attr-defined, no-any-return]


class Registry(Record):
    """A record of a registry, which finds such records by their fields.

    Equal records are of the same class and have the same uid. The hash of a record stays the same when it is saved, so
    that it may be in a set before. There, one that turns out to be an existing record, or a new version, is found, but
    its equals are not.
    """

    objects = _Objects()

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Returns the records that meet all lookups, `field__op=value`.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
        """
        found: QuerySet[Self] = cls._world["QuerySet"](cls)
        return found.filter(**lookups)

    @classmethod
    async def get(cls, identifier: str | int) -> Self:
        """Returns the record with this uid or id.

        Raises:
            NoResultFound: There is no such record.
        """
        identifier = dtypes.plain(identifier)
        lookup = {"id": identifier} if isinstance(identifier, int) else {"uid": identifier}
        found: Self | None = await cls._world["QuerySet"](cls).filter(**lookup)._one_or_none()
        if found is None:
            raise NoResultFound(f"No {cls.__name__} has the {next(iter(lookup))} {identifier!r}")
        return found

    @classmethod
    def search(cls, text: str) -> QuerySet[Self]:
        """Returns the records that have all words of a text in their names, keys or descriptions, ignoring case.

        The best matches come first: records with this name, then records whose name starts with it.
        """
        return cls.filter()._search(text)

    @classmethod
    async def from_values(cls, values: Iterable[str], **fields: Any) -> list[Self]:
        """Returns a record for each name: the registered one, found in one query, else a new, unsaved one.

        Args:
            values: Names. A repeated name gives one record.
            **fields: Other arguments for the constructor of new records, such as `dtype` of features.

        Raises:
            TypeError: These records have no names, a new one takes more than a name, or `values` is one text.
        """
        if isinstance(values, str):
            raise TypeError(f"{values!r} is one text: pass a list of names")
        if cls._naming is None:
            raise TypeError(f"{cls.__name__} records are not found by name: use filter()")
        names = list(dict.fromkeys(values))
        query: QuerySet[Self] = cls._world["QuerySet"](cls)
        known = {getattr(record, f"_{cls._naming}"): record for record in await query._named(cls._naming, names)}
        make: Any = cls
        return [known[name] if name in known else make(name, **fields) for name in names]

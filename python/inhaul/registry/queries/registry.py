"""The base of all registries: records that can be found."""

from collections.abc import Iterable
from typing import Any, Self

from inhaul.arguments import check_list
from inhaul.errors import NoResultFound
from inhaul.registry.model import dtypes
from inhaul.registry.model.base import Record
from inhaul.registry.queries.query_set import QuerySet


class _Objects:
    """`objects`: a query set of all records of a registry, including hidden ones and those in the trash."""

    def __get__(self, record: object, owner: type) -> QuerySet[Any]:
        return owner._world["QuerySet"](owner)  # type: ignore[attr-defined, no-any-return]


class Registry(Record):
    """A record whose class finds records by their fields."""

    objects = _Objects()

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Selects the records that meet all lookups, `field=value` or `field__op=value`.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError, ValueError, WrongWorld: A value does not fit its field; see `QuerySet.filter`.
        """
        found: QuerySet[Self] = cls._world["QuerySet"](cls)
        return found.filter(**lookups)

    @classmethod
    async def get(cls, identifier: str | int) -> Self:
        """Returns the record with this uid or id, also if it is hidden or in the trash.

        Raises:
            NoResultFound: There is no such record.
            TypeError: The identifier is neither a text nor an int.
            ValueError: No database can store the identifier.
        """
        identifier = dtypes.plain(identifier)
        lookup = {"id": identifier} if isinstance(identifier, int) else {"uid": identifier}
        found: Self | None = await cls._world["QuerySet"](cls).filter(**lookup)._one_or_none()
        if found is None:
            raise NoResultFound(f"No {cls.__name__} has the {next(iter(lookup))} {identifier!r}")
        return found

    @classmethod
    def search(cls, text: str) -> QuerySet[Self]:
        """Selects the records that contain all words of a text, also within longer words. Case is ignored.

        The fields that are searched are `name`, `key`, `handle`, `root` and `description`. Records with a field that
        equals the text come first, then records with a field that starts with it. Of artifacts and collections, only
        those with the default visibility are found.

        Raises:
            TypeError: `text` is not a text, or these records have no text to search.
            ValueError: The text holds a character that no database can store, or more than 100 words.
        """
        return cls.filter()._search(text)

    @classmethod
    async def from_values(cls, values: Iterable[str], **fields: Any) -> list[Self]:
        """Returns one record for each name: the registered record, or a new, unsaved one. It runs one query.

        Args:
            values: Names. A repeated name gives one record.
            **fields: Other arguments for the constructor of new records, such as `dtype` of features. Registered
                records are not compared with them.

        Raises:
            TypeError: These records have no names, the constructor does not accept these arguments, or `values` is not
                a list.
            ValueError: The constructor refuses a name or a field.
        """
        check_list("values", values, "names")
        if cls._naming is None:
            raise TypeError(f"{cls.__name__} records are not found by name: use filter()")
        names = list(dict.fromkeys(values))
        query: QuerySet[Self] = cls._world["QuerySet"](cls)
        known = {getattr(record, f"_{cls._naming}"): record for record in await query._named(cls._naming, names)}
        make: Any = cls
        return [known[name] if name in known else make(name, **fields) for name in names]

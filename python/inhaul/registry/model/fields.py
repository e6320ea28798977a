"""The fields of a record: columns with rules on when they can be read and who may write them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from sqlalchemy.orm.attributes import instance_dict, set_committed_value

from inhaul.errors import NotStaged, WrongWorld

if TYPE_CHECKING:
    from inhaul.registry.model.base import Record

T = TypeVar("T")


class Field(Generic[T]):
    """A column. The mapped attribute behind it has the same name with an underscore before it.

    Args:
        writable: Whether users may set the field.
        early: Whether the field is known before the record is staged.
        check: A function of the name and a value set by a user, which raises if the value is invalid.
    """

    def __init__(
        self, *, writable: bool = False, early: bool = False, check: Callable[[str, object], None] | None = None
    ) -> None:
        self.writable = writable
        self.early = early
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...
    @overload
    def __get__(self, record: object, owner: type) -> T: ...
    def __get__(self, record: Any, owner: type) -> Self | T:
        if record is None:
            return self
        if not (self.early or record._is_staged):
            raise NotStaged(f"{self.name} of {record!r} is not known yet: await it first")
        value: T = getattr(record, f"_{self.name}")
        return value

    def __set__(self, record: object, value: T) -> None:
        if not self.writable:
            raise AttributeError(f"{self.name} of {type(record).__name__} is read-only")
        if self._check is not None:
            self._check(self.name, value)
        setattr(record, f"_{self.name}", value)


class Relation(Field[T]):
    """A column that refers to another record, `<name>_id`, and that record."""

    def set(self, record: "Record", value: "Record | None") -> None:
        """Makes the record refer to another saved record.

        Raises:
            WrongWorld: One of the two belongs to `inhaul.sync`, the other does not.
        """
        if value is not None and value._world is not record._world:
            raise WrongWorld(f"{value!r} and {record!r} are not of the same API: use inhaul or inhaul.sync for both")
        if value is not None and value._id is not None:
            value._check_home(record._home)
        setattr(record, f"_{self.name}_id", value._id if value is not None else None)
        set_committed_value(record, f"_{self.name}", value)


def set_row(record: Any, values: Mapping[str, Any]) -> None:
    """Sets columns of a record, and the records they refer to, as if the record had been loaded."""
    there = instance_dict(record)
    for name, value in values.items():
        attribute = f"_{name}"
        now = there.get(attribute)
        if now is not None and now == value:
            value = now  # keep the same dict object, which users may hold
        elif isinstance(value, dict):
            setattr(record, attribute, dict(value))  # SQLAlchemy converts the dict to one that tracks changes
            value = there[attribute]
        set_committed_value(record, attribute, value)

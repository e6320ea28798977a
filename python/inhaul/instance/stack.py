"""The current one of several objects."""

from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Stack(Generic[T]):
    """The objects entered in each context, and the default for contexts without one."""

    def __init__(self, name: str) -> None:
        self._entered: ContextVar[tuple[T, ...]] = ContextVar(name, default=())
        self._defaults: list[T] = []  # the last one counts
        self._open: list[T] = []  # entered in any context: a thread started inside a block has its own context

    def make_default(self, one: T) -> None:
        """Makes an object the default for contexts without one, until it is entered itself."""
        self._defaults.append(one)

    def enter(self, one: T) -> None:
        """Makes an object current in this context, and no longer the process default."""
        if self._defaults and self._defaults[-1] is one:
            self._defaults.pop()
        self._entered.set((*self._entered.get(), one))
        self._open.append(one)

    def leave(self, one: T) -> None:
        """Undoes `enter`."""
        *others, last = self._entered.get() or (one,)
        self._entered.set(tuple(others) if last is one else tuple(it for it in (*others, last) if it is not one))
        if one in self._open:
            self._open.remove(one)

    def current(self) -> T | None:
        """Returns the innermost object of this context, else the default, else the last one entered elsewhere."""
        for some in (self._entered.get(), self._defaults, self._open):
            if some:
                return some[-1]
        return None

"""Rows or columns that were chosen and not read."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Axis:
    """What was chosen of an axis.

    Attributes:
        size: Its length as a whole.
        positions: What was chosen by position; None: all.
        labels: What was chosen of these by name, which takes reading the names; None: all.
        span: What was chosen of the positions from one name to another; None: all.
        rest: What was chosen after that, to be looked at when the names are read.
    """

    size: int
    positions: "np.ndarray[Any, np.dtype[np.intp]] | None" = None
    labels: "np.ndarray[Any, np.dtype[np.object_]] | None" = None
    span: slice | None = None
    rest: tuple[Any, ...] = ()

    @property
    def is_counted(self) -> bool:
        """Whether its length is known without reading the names."""
        return self.span is None

    def __len__(self) -> int:
        if self.span is not None:
            raise ValueError(
                f"The number of names from {self.span.start!r} to {self.span.stop!r} is known only after reading them"
            )
        chosen = self.positions if self.labels is None else self.labels
        return self.size if chosen is None else len(chosen)

    def choose(self, index: Any) -> Self:
        """Chooses among what was chosen.

        Args:
            index: A position, a slice or list of them, a mask, a name, a list of names, or a slice from one name to
                another, which is chosen, too.

        Raises:
            IndexError: A position is out of range, or a mask has another length.
            KeyError: A name is not among those that were chosen by name before.
        """
        import numpy as np
        import pandas as pd

        if isinstance(index, slice) and index == slice(None):
            return self
        if self.span is not None:
            return replace(self, rest=(*self.rest, index))
        if isinstance(index, bool):
            raise IndexError(f"{index} is not a mask: make one from a column that was read with to_memory()")
        if isinstance(index, slice) and (isinstance(index.start, str) or isinstance(index.stop, str)):
            if self.labels is None:
                return replace(self, span=index)
            index = _between(pd.Index(self.labels), index)
        if not isinstance(index, slice):
            index = np.atleast_1d(np.asarray(index))
            if index.dtype.kind in "OUT":
                return replace(self, labels=index.astype(object))
            if not index.size:
                index = index.astype(np.intp)
        chosen = np.arange(len(self))[index]
        if self.labels is not None:
            return replace(self, labels=self.labels[chosen])
        return replace(self, positions=chosen if self.positions is None else self.positions[chosen])

    def resolve(self, names: "Callable[[], pd.Index[str]]") -> "np.ndarray[Any, np.dtype[np.intp]] | None":
        """The positions chosen, None for all.

        Args:
            names: Reads the names of the axis; called only if something was chosen by name.

        Raises:
            KeyError: A name is not among them.
            ValueError: A name is there twice on the axis.
            IndexError: A position is out of range, or a mask has another length.
        """
        import numpy as np
        import pandas as pd

        if self.labels is None and self.span is None:
            return self.positions
        known = names()
        if not known.is_unique:
            twice = known[known.duplicated()][0]
            raise ValueError(f"This axis has the name {twice!r} twice: select by position, or with a mask")
        if self.span is not None:
            among = np.arange(self.size) if self.positions is None else self.positions
            chosen = among[_between(known[among], self.span)]
            axis = Axis(len(chosen))
            for index in self.rest:
                axis = axis.choose(index)
            inner = axis.resolve(lambda: known[chosen])
            return chosen if inner is None else chosen[inner]
        labels = pd.Index(self.labels if self.labels is not None else ())
        found = known.get_indexer(labels)
        absent = found < 0
        if self.positions is not None:
            absent |= ~np.isin(found, self.positions)
        if absent.any():
            raise KeyError(f"There is no {', '.join(map(repr, labels[absent][:5]))} on this axis")
        return found


def whole_index(index: Any, axes: int) -> tuple[Any, ...]:
    """What is chosen along each axis, where `...` stands for all of those that are not named, and so do missing ones.

    Raises:
        IndexError: It is more than there are axes, or `...` is there twice.
    """
    parts = index if isinstance(index, tuple) else (index,)
    gaps = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(gaps) > 1:
        raise IndexError("Use `...` only once")
    if len(parts) - len(gaps) > axes:
        raise IndexError(f"{len(parts) - len(gaps)} indices for {axes} {'axis' if axes == 1 else 'axes'}")
    filling = (slice(None),) * (axes - len(parts) + len(gaps))
    place = gaps[0] if gaps else len(parts)
    return (*parts[:place], *filling, *parts[place + 1 :])


def _between(names: "pd.Index[str]", span: slice) -> slice:
    """The positions from one name to another, both included.

    Raises:
        KeyError: A name is not there.
    """
    absent = [name for name in (span.start, span.stop) if name is not None and name not in names]
    if absent:
        raise KeyError(f"There is no {absent[0]!r} on this axis")
    start = None if span.start is None else names.get_loc(span.start)
    stop = None if span.stop is None else int(names.get_loc(span.stop)) + 1  # type: ignore[arg-type] # names are unique
    return slice(start, stop, span.step)

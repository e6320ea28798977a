"""Selections of rows or columns, before they are read."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Axis:
    """The selection on one axis.

    Attributes:
        size: The length of the whole axis.
        positions: The selected positions; None for all.
        labels: The names selected among these positions, which requires reading the names; None for all.
        span: The range selected among these positions from one name to another; None for all.
        rest: Later selections, which are applied when the names are read.
    """

    size: int
    positions: "np.ndarray[Any, np.dtype[np.intp]] | None" = None
    labels: "np.ndarray[Any, np.dtype[np.object_]] | None" = None
    span: slice | None = None
    rest: tuple[Any, ...] = ()

    @property
    def is_counted(self) -> bool:
        """True if the length is known without reading the names."""
        return self.span is None

    def __len__(self) -> int:
        if self.span is not None:
            raise ValueError(
                f"The number of names from {self.span.start!r} to {self.span.stop!r} is known only after reading them"
            )
        chosen = self.positions if self.labels is None else self.labels
        return self.size if chosen is None else len(chosen)

    def choose(self, index: Any) -> Self:
        """Selects from the selection.

        Args:
            index: A position, a slice or list of positions, a mask, a name, a list of names, or a slice from one name
                to another, including the last.

        Raises:
            IndexError: A position is out of range, or a mask has another length.
            KeyError: A name is not among the names selected before.
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
                if self.labels is not None:
                    known = set(self.labels.tolist())
                    if absent := [name for name in index.tolist() if name not in known]:
                        raise KeyError(f"There is no {', '.join(map(repr, absent[:5]))} in this selection")
                return replace(self, labels=index.astype(object))
            if not index.size:
                index = index.astype(np.intp)
        chosen = np.arange(len(self))[index]
        if self.labels is not None:
            return replace(self, labels=self.labels[chosen])
        return replace(self, positions=chosen if self.positions is None else self.positions[chosen])

    def resolve(self, names: "Callable[[], pd.Index[str]]") -> "np.ndarray[Any, np.dtype[np.intp]] | None":
        """Returns the selected positions; None for all.

        Args:
            names: Reads the names of the axis; called only if the selection uses names.

        Raises:
            KeyError: A name is not in the selection.
            ValueError: The axis has a name twice.
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
    """Returns the index for each axis. `...` stands for all axes without an index, and missing axes are taken whole.

    Raises:
        IndexError: There are more indices than axes, or `...` occurs twice.
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
    """Returns the positions from one name to another, both included.

    Raises:
        KeyError: A name does not exist.
    """
    absent = [name for name in (span.start, span.stop) if name is not None and name not in names]
    if absent:
        raise KeyError(f"There is no {absent[0]!r} on this axis")
    start = None if span.start is None else names.get_loc(span.start)
    stop = None if span.stop is None else int(names.get_loc(span.stop)) + 1  # type: ignore[arg-type] # names are unique
    return slice(start, stop, span.step)

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
    """

    size: int
    positions: "np.ndarray[Any, np.dtype[np.intp]] | None" = None
    labels: "np.ndarray[Any, np.dtype[np.object_]] | None" = None

    def __len__(self) -> int:
        chosen = self.positions if self.labels is None else self.labels
        return self.size if chosen is None else len(chosen)

    def choose(self, index: Any) -> Self:
        """Chooses among what was chosen.

        Args:
            index: A position, a slice or list of them, a mask, a name, or a list of names.

        Raises:
            IndexError: A position is out of range, or a mask has another length.
        """
        import numpy as np

        if isinstance(index, slice) and index == slice(None):
            return self
        if isinstance(index, bool):
            raise IndexError(
                f"{index} is no mask: make it of what was read, as in accessor.obs[name].to_memory() == value"
            )
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
            names: Reads the names of the axis; called only if there are labels.

        Raises:
            KeyError: A name is not among them.
            ValueError: A name is there twice on the axis.
        """
        import numpy as np
        import pandas as pd

        if self.labels is None:
            return self.positions
        known = names()
        if not known.is_unique:
            twice = known[known.duplicated()][0]
            raise ValueError(f"{twice!r} is there twice on this axis: choose by position, or by a mask")
        found = known.get_indexer(pd.Index(self.labels))
        absent = found < 0
        if self.positions is not None:
            absent |= ~np.isin(found, self.positions)
        if absent.any():
            raise KeyError(f"There is no {', '.join(map(repr, self.labels[absent][:5]))} on this axis")
        return found

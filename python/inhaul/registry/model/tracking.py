"""Fields that records of several registries share: where a record comes from, and when it was written."""

from datetime import datetime
from typing import TYPE_CHECKING

from inhaul.registry.model.fields import Field, Relation

if TYPE_CHECKING:
    from inhaul.registry.records.run import Run, Transform
    from inhaul.registry.records.user import User


class TracksRun:
    """A record that remembers who made it, and in which run."""

    _created_by: "User"
    _created_by_id: int
    _run: "Run | None"
    _run_id: int | None

    created_by = Relation["User"]()
    run = Relation["Run | None"]()

    @property
    def transform(self) -> "Transform | None":
        """The transform of the run."""
        run = self.run
        return run.transform if run is not None else None


class TracksUpdates:
    """A record that remembers when it was last written."""

    updated_at = Field[datetime]()

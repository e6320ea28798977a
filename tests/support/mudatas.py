"""The same behaviour of mudata in all releases."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mudata


def pulling_nothing() -> AbstractContextManager[Any]:
    """A block in which a MuData does not copy columns of its modalities, as releases before 0.4 do by default."""
    options = getattr(mudata, "set_options", None)
    return options(pull_on_update=False) if options else nullcontext()

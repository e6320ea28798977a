"""mudata, alike in every release."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mudata


def pulling_nothing() -> AbstractContextManager[Any]:
    """A block in which no MuData copies columns of its modalities, as releases before 0.4 do unless told not to."""
    options = getattr(mudata, "set_options", None)
    return options(pull_on_update=False) if options else nullcontext()

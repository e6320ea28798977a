"""A progress bar for terminals and notebooks."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inhaul.ingestion.report import IngestEvent


@contextmanager
def bar() -> Iterator[Callable[[IngestEvent], None] | None]:
    """Yields a function that shows events in a bar; None if there is neither a terminal nor a notebook."""
    if not (sys.stderr.isatty() or _in_notebook()):
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, a notebook shows the bar of a terminal
        from tqdm.auto import tqdm
    with tqdm(unit=" files") as shown:

        def show(event: IngestEvent) -> None:
            shown.total = event.found if event.walked else None
            shown.set_postfix_str(f"{tqdm.format_sizeof(event.bytes, 'B', 1000)}", refresh=False)
            shown.update(event.files - shown.n)

        yield show


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")

"""The blocking twin of inhaul: the same names, for scripts and notebooks.

Calls block until they are done::

    import inhaul.sync as ih

    artifacts = ih.Artifact.from_dir("plates").save()

Artifacts and lists are staged when one of their fields is read, or when they are saved. If no field is read before
`save()`, each file is read once. Each call runs a coroutine of the async API on an event loop in a separate thread, so
calls also work in a notebook, which has its own loop. The two APIs can use the same registry, but not each other's
records.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self, overload

import inhaul as _inhaul
from inhaul import __all__ as __all__
from inhaul import instance as _instance
from inhaul import registry as _registry
from inhaul._blocking import blocking, iterate, run, twin
from inhaul.ingestion.report import IngestEvent, IngestReport
from inhaul.progress import bar
from inhaul.registry import save_many as _save_many
from inhaul.registry.lineage import current_run as _context
from inhaul.registry.model.world import World
from inhaul.watching import watch as _watching

_SHOWN = 20  # records in a table


class Instance:
    """A registry and its default storage.

    `connect()` returns it. It opens lazily, and creates nothing before the first write. A `with` block makes it the
    current one in the block, and closes it.
    """

    def __init__(self, instance: _instance.Instance) -> None:
        self._instance = instance

    def __repr__(self) -> str:
        return repr(self._instance)

    def __enter__(self) -> Self:
        self._instance.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._instance.leave()
        self.close()

    def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        This is optional: the first write does the same.
        """
        run(self._instance.open())
        return self

    def close(self) -> None:
        """Closes the connections of the blocking API."""
        run(self._instance.aclose())


@wraps(_instance.connect)
def connect(  # noqa: D103 - see there
    storage: str | os.PathLike[str] | None = None,
    db: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    local_storage: str | os.PathLike[str] | None = None,
) -> Instance:
    return Instance(_instance.connect(storage, db, storage_options=storage_options, local_storage=local_storage))


@wraps(_registry.ingest)
def ingest(  # noqa: D103 - see there
    *arguments: Any, on_event: Callable[[IngestEvent], object] | None = None, **options: Any
) -> IngestReport:
    if on_event is not None:
        return run(_registry.ingest(*arguments, on_event=on_event, **options))
    with bar() as show:
        return run(_registry.ingest(*arguments, on_event=show, **options))


@wraps(_watching.watch)
def watch(*arguments: Any, **options: Any) -> Iterator[IngestReport]:  # noqa: D103 - see there
    return iterate(_watching.watch(*arguments, **options), 1)


_save = blocking(_save_many.save_all)  # exhausts iterators first


@wraps(_registry.save)
def save(records: Iterable[Any]) -> None:  # noqa: D103 - see there
    _save(records, blocking=True)


@wraps(_registry.track)
def track(transform: Any = None, *, params: dict[str, Any] | None = None) -> Any:  # noqa: D103 - see there
    return run(_context.begin(_world["Run"], transform, params))


@overload
def tracked(function: Callable[..., Any]) -> Callable[..., Any]: ...
@overload
def tracked(function: None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def tracked(function: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Records each call of a function as a run, with its arguments and their defaults as parameters.

    Use it as `@tracked` or `@tracked()`.

    The run of a call that raises stays unfinished. Arguments of more than 10,000 bytes as JSON, and arguments that JSON
    cannot hold, are recorded as short texts.

    Raises:
        TypeError: The function is a coroutine or generator function, or has no name, like a `functools.partial`.
    """
    if function is None:
        return tracked
    _context.check_function(function)
    if iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is a coroutine function: track it with inhaul.tracked")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        instance, begun = run(_context.start_call(_world["Run"], function, args, kwargs))
        with _context.running(instance, begun):
            result = function(*args, **kwargs)
        run(begun._finish(instance))
        return result

    return call


def _one_or_slice(self: Any, part: int | slice) -> Any:
    if isinstance(part, slice):
        return _registry.QuerySet.__getitem__(self, part)
    found = run(self[part : part + 1]._all())
    if not found:
        raise IndexError(f"There is no record {part} among those of {self!r}")
    return found[0]


def _table(self: Any) -> str:
    found, more = run(self[:_SHOWN]._df()), self.count() - _SHOWN
    return f"{found.to_html()}<p>{f'and {more:,} more' if more > 0 else ''}</p>"


def _watched(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *arguments: Any) -> Any:
        with bar() as self._on_event:
            return method(self, *arguments)

    return call


_List = _registry.ArtifactList
twin(_registry.QuerySet, __getitem__=_one_or_slice, _repr_html_=_table)
twin(_List, _stage=_watched(blocking(_List._staging)), save=_watched(blocking(_List.save)))

_world = World(blocking=True)
_world.add(*map(twin, _registry.asynchronous.classes.values()))
_world.map()


def _twin_of(name: str) -> Any:
    """Returns the twin of a public name. A name that does not block and has no twin stays as it is."""
    value = getattr(_inhaul, name)
    return blocking(value) if iscoroutinefunction(value) else _world.classes.get(name, value)


globals().update({_name: _twin_of(_name) for _name in __all__ if _name not in globals()})

from inhaul.sync import core as core  # noqa: E402 - it uses the names above

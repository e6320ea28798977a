"""The current run: what artifacts that are made or used are linked with."""

import asyncio
import functools
import inspect
import json
import os
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import sqlalchemy
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from inhaul.db import tables
from inhaul.db.bulk import insert_into
from inhaul.errors import KeyExists
from inhaul.hashing import hash_bytes
from inhaul.instance import Instance, current
from inhaul.registry.arguments import check_record
from inhaul.registry.fields import set_row
from inhaul.registry.run import Run, Transform

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact
    from inhaul.registry.base import Registry
    from inhaul.registry.query import QuerySet
    from inhaul.registry.world import World

R = TypeVar("R", bound="Registry")

_LONGEST = 10_000  # characters of an argument that is recorded as it is

# The run of the innermost tracked function, and the instance it is registered in.
_running: ContextVar[tuple[Instance, Run] | None] = ContextVar("inhaul_run", default=None)


async def track(transform: Transform | None = None, *, params: dict[str, Any] | None = None) -> Run:
    """Begins a run, which is the current one of the instance until `finish()`.

    Artifacts that are made from now on are its outputs, those that are loaded, cached or opened its inputs.

    Args:
        transform: What runs. None: this script or notebook. A transform with the same name and type is used again.
        params: Its parameters, anything JSON can hold.

    Raises:
        TypeError: The transform is no `Transform`, or JSON has no form for something in the params.
        ValueError: There is neither a script nor a notebook, and no transform was given.
    """
    return await begin(Run, transform, params)


async def begin(cls: type[Run], transform: Transform | None, params: dict[str, Any] | None) -> Run:
    """Begins a run of the API that this class of runs belongs to."""
    check_record(cls._world, "transform", transform, "Transform", optional=True)
    instance = current()
    instance.run = run = await _start(cls, instance, transform or _main(cls), params)
    return run


async def finish() -> None:
    """Ends the current run of the instance.

    Raises:
        ValueError: There is none.
    """
    instance = current()
    if instance.run is None:
        raise ValueError("There is no run to finish: track() begins one")
    await instance.run._finish(instance)
    instance.run = None


def tracked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes each call of a function a run of its own, with its arguments as parameters.

    A plain function becomes a coroutine function, and runs in a thread. The run of a call that raises stays unfinished.
    Arguments that are long, or that JSON cannot hold, are recorded in short, as texts.

    Raises:
        TypeError: It is a generator, or has no name, like what `functools.partial` makes.
    """
    check_function(function)

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        instance, run = await start_call(Run, function, args, kwargs)
        with running(instance, run):
            if inspect.iscoroutinefunction(function):
                result = await function(*args, **kwargs)
            else:
                result = await asyncio.to_thread(function, *args, **kwargs)
        await run._finish(instance)
        return result

    return call


def check_function(function: Callable[..., Any]) -> None:
    """Refuses what cannot be tracked.

    Raises:
        TypeError: It is a generator function, or none that has a name.
    """
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise TypeError(f"{function!r} is no function with a name, as its runs need: track a function that calls it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator, of which no call ends: track what goes through it")


async def start_call(cls: type[Run], function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Instance, Run]:
    """Begins the run of one call of a function."""
    instance = current()
    module = "" if function.__module__ == "__main__" else f"{function.__module__}."
    transform = cls._world["Transform"](f"{module}{function.__qualname__}", type="function")
    given = inspect.signature(function).bind(*args, **kwargs).arguments
    return instance, await _start(cls, instance, transform, {name: _recorded(value) for name, value in given.items()})


@contextmanager
def running(instance: Instance, run: Run) -> Iterator[None]:
    """Makes a run the current one of this context."""
    token = _running.set((instance, run))
    try:
        yield
    finally:
        _running.reset(token)


def active_run(run: "Run | Literal[False] | None", instance: Instance) -> Run | None:
    """The run to link with: the one given, else the current one; none if it is False."""
    if run is None:
        inner = _running.get()
        run = inner[1] if inner is not None and inner[0] is instance else instance.run
    return None if run is False else run


def run_for(world: "World", run: "Run | Literal[False] | None", instance: Instance) -> Run | None:
    """The run that a new record of an API is linked with."""
    found = active_run(run, instance)
    return in_world(found, world) if run is None and found is not None else found


def in_world(record: R, world: "World") -> R:
    """A saved record as one of the given API."""
    if record._world is world:
        return record
    mapper = sqlalchemy.inspect(world[type(record).__name__])
    same: R = mapper.class_manager.new_instance()
    set_row(same, {name: getattr(record, f"_{name}") for name in mapper.local_table.c.keys()})  # noqa: SIM118
    for name in mapper.relationships.keys():  # noqa: SIM118 - a column collection, not a dict
        other = getattr(record, name)
        set_committed_value(same, name, in_world(other, world) if other is not None else None)
    make_transient_to_detached(same)
    same._instance = record._instance
    return same


async def note_input(artifact: "Artifact", is_run_input: bool | None) -> None:
    """Makes an artifact an input of the current run, unless the run made it.

    Raises:
        ValueError: It has to be one, but there is no run.
    """
    instance = artifact._home
    run = active_run(None, instance) if is_run_input is not False else None
    if run is None:
        if is_run_input:
            raise ValueError("is_run_input=True needs a current run: track() begins one")
        return
    if artifact._id is None or artifact._id in run._inputs or (artifact._run_id == run._id and not is_run_input):
        return
    link = tables.artifact_input_of
    async with instance.database.write() as conn:
        row = {"artifact_id": artifact._id, "run_id": run._id}
        await conn.execute(insert_into(link, conn.dialect.name).on_conflict_do_nothing(), row)
    run._inputs |= {artifact._id}


async def _start(cls: type[Run], instance: Instance, transform: Transform, params: dict[str, Any] | None) -> Run:
    run = cls(await _known(instance, transform), params)
    await run._save(instance)
    return run


async def _known(instance: Instance, transform: Transform) -> Transform:
    """The transform that has this name and type, saved now if there is none."""
    if transform._id is not None:
        return transform
    same: QuerySet[Transform] = transform._world["QuerySet"](type(transform), instance=instance)
    same = same.filter(name=transform._name, type=transform._type)
    if found := await same._first_one():
        return found
    # Of several that come first at once, all find the one that is saved first, since its uid is not random.
    digest = hash_bytes(f"{transform._type} {transform._name}".encode()).hash
    transform._uid = digest.replace("-", "0").replace("_", "1")[:16] + "0000"
    try:
        await transform._save(instance)
    except KeyExists:
        return await same._first_one() or transform
    return transform


def _main(cls: type[Run]) -> Transform:
    """The script or notebook that this is."""
    make: type[Transform] = cls._world["Transform"]
    main = sys.modules["__main__"]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and "IPKernelApp" in shell.config:
        # Jupyter and Visual Studio Code tell the kernel where the notebook is, others do not.
        path = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or "notebook"
        return make(Path(path).name, type="notebook")
    if not getattr(main, "__file__", None):
        raise ValueError('There is no script or notebook to track: pass Transform("what runs", type="pipeline")')
    return make(Path(str(main.__file__)).name, type="script")


def _recorded(value: object) -> Any:
    """An argument as JSON holds it, else in short: whatever it is, the call goes on."""
    with suppress(Exception):
        text = json.dumps(value, default=_in_words, ensure_ascii=False, allow_nan=False)
        if len(text.encode()) <= _LONGEST:
            return json.loads(text)
    with suppress(Exception):
        return reprlib.repr(value).encode(errors="backslashreplace").decode()
    return f"<{type(value).__name__}>"


def _in_words(value: object) -> str:
    """An argument that JSON cannot hold: records, paths and dates are short enough to be told."""
    if hasattr(value, "_world") or isinstance(value, os.PathLike) or hasattr(value, "isoformat"):
        return str(value)
    return f"<{type(value).__name__}>"

"""The current run: what artifacts that are made or used are linked with."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import sqlalchemy
from sqlalchemy.orm.attributes import set_committed_value

from inhaul.db import provenance
from inhaul.instance import Instance, current
from inhaul.registry.lineage.program import program
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.world import check_record
from inhaul.registry.records.params import recorded
from inhaul.registry.records.run import Run, Transform

if TYPE_CHECKING:
    from inhaul.registry.model.base import Record
    from inhaul.registry.model.world import World
    from inhaul.registry.queries.query_set import QuerySet

R = TypeVar("R", bound="Record")

# The run of the innermost tracked function, and the instance it is registered in.
_running: ContextVar[tuple[Instance, Run] | None] = ContextVar("inhaul_run", default=None)


async def track(transform: Transform | None = None, *, params: dict[str, Any] | None = None) -> Run:
    """Begins a run, which is the current one of the instance until `finish()`.

    Artifacts that are made from now on are its outputs, those that are loaded, cached or opened its inputs.

    Args:
        transform: What runs. None: this script or notebook, named by its path in the project: in the git work tree, or
            beside the registry's `.inhaul` folder. A transform with the same name and type is used again.
        params: Its parameters by name, such as `vars(arguments)` of argparse; see `Run`. What that refuses, whatever
            its repr does, is refused before the run begins.

    Raises:
        TypeError: The transform is no `Transform`; or the params are no dict, a key in them is no text, or JSON has no
            form for something in them.
        ValueError: There is neither a script nor a notebook, and no transform was given; or the params hold themselves,
            or half of a surrogate pair.
    """
    return await begin(Run, transform, params)


async def begin(cls: type[Run], transform: Transform | None, params: dict[str, Any] | None) -> Run:
    """Begins a run of the API that this class of runs belongs to."""
    check_record(cls._world, "transform", transform, "Transform", optional=True)
    instance = current()
    if transform is None:
        transform = cls._world["Transform"](*await asyncio.to_thread(program, instance.database.path))
    instance.run = run = await _start(cls, instance, transform, params)
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


@overload
def tracked(function: Callable[..., Any]) -> Callable[..., Any]: ...
@overload
def tracked(function: None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def tracked(function: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Makes each call of a function a run of its own, with its arguments, given or default, as parameters.

    To be written `@tracked` or `@tracked()`.

    A plain function becomes a coroutine function, and runs in a thread. The run of a call that raises stays unfinished.
    Arguments that are long, or that JSON cannot hold, are recorded in short, as texts; one whose repr raises, by its
    class. None of them ends the call.

    Raises:
        TypeError: It is a generator, or has no name, like what `functools.partial` makes.
    """
    if function is None:
        return tracked
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
    params = {name: recorded(value) for name, value in _arguments(function, args, kwargs).items()}
    return instance, await _start(cls, instance, transform, params)


def _arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """All arguments of a call by name, with the defaults of those that were not given."""
    signature = inspect.signature(function)
    call = signature.bind(*args, **kwargs)
    given = set(call.arguments)
    call.apply_defaults()  # which also makes `*args` and `**kwargs` empty ones
    defaults = {name for name, parameter in signature.parameters.items() if parameter.default is not parameter.empty}
    return {name: value for name, value in call.arguments.items() if name in given or name in defaults}


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
    same._instance = record._instance
    return same


def input_run(artifact: "Record", is_run_input: "bool | Run | None") -> Run | None:
    """The run that an artifact, or a collection, becomes an input of when it is used: one given, or the current one.

    Raises:
        TypeError: It is neither a run nor True, False or None.
        WrongWorld: The run belongs to the other API.
        ValueError: It has to be one, but there is no run; or the run belongs to another instance.
    """
    instance = artifact._home
    if is_run_input is False:
        return None
    if is_run_input is None or is_run_input is True:
        run = active_run(None, instance)
        if run is None and is_run_input:
            raise ValueError("is_run_input=True needs a current run: track() begins one")
        return run
    check_record(artifact._world, "is_run_input", is_run_input, "Run")
    if is_run_input._id is not None:
        is_run_input._check_home(instance)
    return is_run_input


async def note_inputs(instance: Instance, made: Mapping[int | None, int | None], run: Run | None) -> None:
    """Makes artifacts inputs of a run, but for those that it made, or met again.

    Args:
        instance: Theirs.
        made: The ids of the runs that made them, by their own ids. One that is not saved has none.
        run: The run that uses them, if any.
    """
    if run is None or not made:
        return
    if run._id is None:
        await run._save(instance)
    used = {id for id, made_in in made.items() if id is not None and made_in != run._id}
    if new := used - run._inputs:
        async with instance.database.write() as conn:
            await provenance.link_inputs(conn, new, run.id)
        run._inputs |= new


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
    await transform._save(instance)
    return transform

"""The current run, which artifacts are linked with when they are created or used."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

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

# The run of the innermost tracked function, and the instance of the run.
_running: ContextVar[tuple[Instance, Run] | None] = ContextVar("inhaul_run", default=None)


async def track(transform: Transform | None = None, *, params: dict[str, Any] | None = None) -> Run:
    """Starts a run, which is the current run of the instance until `finish()`.

    Artifacts created from now on become its outputs. Artifacts that are loaded, cached or opened become its inputs. If
    another run is current, the new run takes its place, and the other one stays unfinished.

    Args:
        transform: The transform that runs. None means this script or notebook. Its name is then its path in the git
            work tree, after the name of the repository if the registry lies outside. Without a work tree, it is the
            path relative to the folder of the registry if the file lies in or beside that folder, else the whole path.
            A registered transform with the same name and type is reused.
        params: The parameters by name, such as `vars(arguments)` of argparse; see `Run`.

    Raises:
        TypeError: The transform is not a `Transform`, the params are not a dict, a key in them is not a text, or a
            value cannot be stored as JSON.
        WrongWorld: The transform belongs to the other API.
        ValueError: No transform was given, and this is neither a script nor a notebook; or the name is registered with
            another type; or the params contain themselves, or half of a surrogate pair.
    """
    return await begin(Run, transform, params)


async def begin(cls: type[Run], transform: Transform | None, params: dict[str, Any] | None) -> Run:
    """Starts a run of this class, and so of its API."""
    check_record(cls._world, "transform", transform, "Transform", optional=True)
    instance = current()
    if transform is None:
        transform = cls._world["Transform"](*await asyncio.to_thread(program, instance.database.path))
    instance.run = run = await _start(cls, instance, transform, params)
    return run


async def finish() -> None:
    """Ends the current run of the instance, and records the time.

    Raises:
        ValueError: There is no current run.
    """
    instance = current()
    if (run := _tracked(instance)) is None:
        raise ValueError("There is no run to finish: start one with track()")
    await run._finish(instance)
    instance.run = None


@overload
def tracked(function: Callable[..., Any]) -> Callable[..., Any]: ...
@overload
def tracked(function: None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def tracked(function: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Records each call of a function as a run, with its arguments and their defaults as parameters.

    Use it as `@tracked` or `@tracked()`.

    A plain function becomes a coroutine function, and runs in a thread. The run of a call that raises stays unfinished.
    Arguments of more than 10,000 bytes as JSON, and arguments that JSON cannot hold, are recorded as short texts. If
    the repr of an argument raises, its class is recorded.

    Raises:
        TypeError: The function is a generator function, or has no name, like a `functools.partial`.
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
    """Raises if a function cannot be tracked.

    Raises:
        TypeError: It is a generator function, or not a function with a name.
    """
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise TypeError(f"{function!r} is not a function with a name: track a named function that calls it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator function and cannot be tracked: track the function that uses it"
        )


async def start_call(cls: type[Run], function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Instance, Run]:
    """Starts the run of one call of a function."""
    instance = current()
    module = "" if function.__module__ == "__main__" else f"{function.__module__}."
    transform = cls._world["Transform"](f"{module}{function.__qualname__}", type="function")
    params = {name: recorded(value) for name, value in _arguments(function, args, kwargs).items()}
    return instance, await _start(cls, instance, transform, params)


def _arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Returns all arguments of a call by name, including defaults."""
    signature = inspect.signature(function)
    call = signature.bind(*args, **kwargs)
    given = set(call.arguments)
    call.apply_defaults()  # also adds empty `*args` and `**kwargs`
    defaults = {name for name, parameter in signature.parameters.items() if parameter.default is not parameter.empty}
    return {name: value for name, value in call.arguments.items() if name in given or name in defaults}


@contextmanager
def running(instance: Instance, run: Run) -> Iterator[None]:
    """Sets the current run of this context."""
    token = _running.set((instance, run))
    try:
        yield
    finally:
        _running.reset(token)


def _tracked(instance: Instance) -> Run | None:
    """Returns the run between `track` and `finish`."""
    return cast("Run | None", instance.run)  # `begin` alone sets it


def active_run(run: "Run | Literal[False] | None", instance: Instance) -> Run | None:
    """Returns the run to link with: the given run, else the current one. False gives None."""
    if run is None:
        inner = _running.get()
        run = inner[1] if inner is not None and inner[0] is instance else _tracked(instance)
    return None if run is False else run


def run_for(world: "World", run: "Run | Literal[False] | None", instance: Instance) -> Run | None:
    """Returns the run to link a new record of an API with.

    Raises:
        TypeError: It is neither a run nor False or None.
        WrongWorld: It belongs to the other API.
    """
    check_record(world, "run", None if run is False else run, "Run", optional=True)
    found = active_run(run, instance)
    return in_world(found, world) if run is None and found is not None else found


def in_world(record: R, world: "World") -> R:
    """Returns a saved record as a record of the given API."""
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
    """Returns the run that uses an artifact or a collection as an input: the given run, or the current one.

    Raises:
        TypeError: `is_run_input` is neither a run nor True, False or None.
        WrongWorld: The run belongs to the other API.
        ValueError: `is_run_input` is True and there is no run, or the run belongs to another instance.
    """
    instance = artifact._home
    if is_run_input is False:
        return None
    if is_run_input is None or is_run_input is True:
        run = active_run(None, instance)
        if run is None and is_run_input:
            raise ValueError("is_run_input=True needs a current run: start one with track()")
        return run
    check_record(artifact._world, "is_run_input", is_run_input, "Run")
    if is_run_input._id is not None:
        is_run_input._check_home(instance)
    return is_run_input


async def note_inputs(instance: Instance, made: Mapping[int | None, int | None], run: Run | None) -> None:
    """Links artifacts as inputs of a run, except artifacts that the run created or made again.

    Args:
        instance: The instance of the artifacts.
        made: The ids of the runs that created them, by artifact id. An unsaved artifact has the id None.
        run: The run that uses them. None links nothing.
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


async def saved_id(run: Run | None, instance: Instance) -> int | None:
    """Saves a run, and returns its id. Returns None without a run."""
    if run is None:
        return None
    await run._save(instance)
    return run.id


async def _start(cls: type[Run], instance: Instance, transform: Transform, params: dict[str, Any] | None) -> Run:
    run = cls(await _known(instance, transform), params)
    await run._save(instance)
    return run


async def _known(instance: Instance, transform: Transform) -> Transform:
    """Returns the registered transform with this name and type. If there is none, saves this one."""
    if transform._id is not None:
        return transform
    same: QuerySet[Transform] = transform._world["QuerySet"](type(transform), instance=instance)
    same = same.filter(name=transform._name, type=transform._type)
    if found := await same._first_one():
        return found
    await transform._save(instance)
    return transform

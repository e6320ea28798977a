"""Blocking calls: they run the same coroutines on an event loop in a separate thread.

The loop starts with the first call and serves all threads of the process. It is never the loop of the calling thread,
so a call may block where another loop runs, as it does in a notebook.
"""

import asyncio
import atexit
import functools
import inspect
import os
import sys
import threading
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, get_origin

from sqlalchemy.orm import QueryableAttribute, class_mapper
from sqlalchemy.orm.exc import UnmappedClassError

from inhaul.errors import WrongThread

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 5.0  # seconds that an interrupted call waits for its clean-up
_FAREWELL = 1.0  # seconds that the process waits at its end for connections to close
_CHUNK = 1000  # items that an iteration fetches at a time
_ENDING = (
    "The main thread has ended, so inhaul.sync can do no more work in this process: have the main thread wait for its "
    "other threads, with join(), and call inhaul.sync before the end of the script rather than with atexit"
)


class _Portal:
    """The loop, and its thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="inhaul-sync", daemon=True)
        self._thread.start()
        self._started.wait()
        atexit.register(self._stop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        outcome: Future[T] = Future()

        async def supervised() -> None:
            try:
                outcome.set_result(await coroutine)
            except BaseException as error:
                outcome.set_exception(error)

        # This copies the context of the calling thread.
        call = asyncio.run_coroutine_threadsafe(supervised(), self.loop)
        try:
            return outcome.result()
        except BaseException as error:
            if not outcome.done():  # a KeyboardInterrupt in the calling thread
                call.cancel()
                wait([outcome], timeout=_PATIENCE)
            # Python's thread pools refuse work a little before the main thread counts as ended.
            if type(error) is RuntimeError and (_is_ending() or "cannot schedule new futures" in str(error)):
                raise WrongThread(_ENDING) from error
            raise

    def check(self) -> None:
        """Refuses calls that would wait for ever.

        Raises:
            WrongThread: The caller is the thread of the loop, or a child that was forked from its process; or the main
                thread has ended, after which Python runs no more work in threads.
        """
        if os.getpid() != self.process:
            raise WrongThread(
                "inhaul.sync was used before this process was forked, and threads do not survive a fork: start the "
                "process with multiprocessing.get_context('spawn'), or use inhaul.sync only in the child"
            )
        if _is_ending():
            raise WrongThread(_ENDING)
        if threading.current_thread() is self._thread:
            raise WrongThread(
                "This runs on the event loop of inhaul.sync, where a blocking call would wait for itself: "
                "call the async API there, or make the call from another thread"
            )

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self.loop = runner.get_loop()
            self._stopping = asyncio.Event()
            self.loop.call_soon(self._started.set)
            while not self._stopping.is_set():
                # A SystemExit in a user's callback ends the loop; its call also raises it.
                with suppress(SystemExit, KeyboardInterrupt):
                    runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        # The end of a loop closes all generators at once, but these must be closed before the ones that they use.
        for source in list(_iterated):
            await source.aclose()

    def _stop(self) -> None:
        """Ends running tasks, and lets the loop close its connections."""
        if os.getpid() == self.process:
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_FAREWELL)


def _is_ending() -> bool:
    return not threading.main_thread().is_alive()


_portal: _Portal | None = None
_starting = threading.Lock()


def _get_portal() -> _Portal:
    global _portal
    with _starting:
        if _portal is None:
            _portal = _Portal()
    return _portal


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the caller's context, and waits for its result or error.

    Ctrl-C cancels the coroutine, and waits for its clean-up.

    Raises:
        WrongThread: The caller is the thread that would run the coroutine, or a forked child, or the main thread has
            ended.
    """
    try:
        portal = _get_portal()
        portal.check()
    except BaseException:
        coroutine.close()
        raise
    return portal.run(coroutine)


def iterate(source: AsyncGenerator[T], chunk: int = _CHUNK) -> Iterator[T]:
    """Yields the items of an async generator, which are fetched in chunks of so many.

    Raises:
        WrongThread: See `run`.
    """
    _iterated.add(source)
    try:
        while items := run(_take(source, chunk)):
            yield from items
    finally:
        # This does not wait, as the garbage collector may close it on any thread, also on that of the loop.
        if _portal is not None and _portal.process == os.getpid() and not sys.is_finalizing():
            _portal.loop.call_soon_threadsafe(_close, source)


async def _take(source: AsyncGenerator[T], most: int) -> list[T]:
    items: list[T] = []
    async for item in source:
        items.append(item)
        if len(items) == most:
            break
    return items


def _close(source: AsyncGenerator[Any]) -> None:
    task = asyncio.ensure_future(source.aclose())
    task.add_done_callback(lambda _: _iterated.discard(source))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_iterated: set[AsyncGenerator[Any]] = set()
_closing: set[asyncio.Future[None]] = set()  # the loop holds its tasks weakly


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Returns a blocking form of a coroutine function. It first exhausts iterators, as they may make blocking calls."""
    called: Callable[..., Coroutine[Any, Any, T]] = function

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(called(*map(_held, args), **{name: _held(value) for name, value in kwargs.items()}))

    return call


def _held(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) else value


twins: dict[type, type] = {}
"""The classes of the async API that have a twin."""

# Attributes that Python and SQLAlchemy add to each class, and those that the twin has in another form.
_LEFT_OUT = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__orig_bases__",
        "__parameters__",
        "__abstractmethods__",
        "_abc_impl",
        "__mapper__",
        "__table__",
        "_sa_class_manager",
        "_world",
        "__await__",
        "__aiter__",
        "__aenter__",
        "__aexit__",
        "__init__",
    ]
)


def twin(cls: type, **members: object) -> type:
    """Returns the twin of a class: its public coroutine functions block.

    The twin is not a subclass but has the same code. Its bases are also twins, and it is created only once. Its objects
    are staged when a field is read that staging sets, and support `for` instead of `async for`.

    Args:
        cls: A class of the async API.
        members: Members that differ in the twin.
    """
    if cls not in twins:
        bases = tuple(map(_base, vars(cls).get("__orig_bases__", cls.__bases__)))
        namespace = {name: _member(name, value) for name, value in vars(cls).items() if name not in _LEFT_OUT}
        namespace = {name: value for name, value in namespace.items() if not isinstance(value, QueryableAttribute)}
        namespace |= _protocols(cls) | {"__module__": "inhaul.sync"}
        if "__await__" in vars(cls):
            staged = _staged(cls)
            namespace |= {name: staged.pop(name) for name in vars(cls) if name in staged}
            bases = (type(f"Staged{cls.__name__}", (), staged), *bases)  # before the bases with these members
        namespace |= members
        twins[cls] = types.new_class(cls.__name__, bases, exec_body=lambda body: body.update(namespace))
    return twins[cls]


def _base(base: Any) -> Any:
    """Returns the twin of a base class, which may be generic with arguments."""
    origin = get_origin(base) or base
    return twin(origin) if isinstance(origin, type) and origin.__module__.startswith("inhaul.") else base


def _member(name: str, value: Any) -> Any:
    if name.startswith("_"):
        return value
    if isinstance(value, classmethod) and inspect.iscoroutinefunction(value.__func__):
        return classmethod(blocking(value.__func__))
    return blocking(value) if inspect.iscoroutinefunction(value) else value


def _protocols(cls: Any) -> dict[str, Any]:
    """Returns the special methods that differ."""
    members: dict[str, Any] = {}
    if "__init__" in vars(cls):
        members["__init__"] = _init(cls)
    if "__aiter__" in vars(cls):
        members["__iter__"] = lambda self: iterate(cls.__aiter__(self))
    if "__aenter__" in vars(cls):
        members |= {"__enter__": blocking(cls.__aenter__), "__exit__": blocking(cls.__aexit__)}
    return members


def _init(cls: type) -> Any:
    """Returns the constructor as it was before SQLAlchemy mapped the class."""
    try:
        return class_mapper(cls, configure=False).class_manager.original_init
    except UnmappedClassError:
        return cls.__init__  # type: ignore[misc]


def _staged(cls: Any) -> dict[str, Any]:
    """Returns members of a class with staging that first stage their object.

    `save()` stages it itself, and so reads each file only once. The constructor still refuses wrong arguments and
    paths.
    """
    init = _init(cls)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init(self, *args, **kwargs)
        run(self._check())

    members: dict[str, Any] = {
        "__init__": __init__,
        "__hash__": cls.__hash__,
        "_stage": lambda self: run(self._staging()),
    }
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if name in _ASKING and value is not object.__eq__:
            members[name] = _after_staging(value)
        elif name.startswith("_") or name == "save":
            continue
        elif inspect.iscoroutinefunction(value):
            members[name] = _after_staging(blocking(value))
        elif hasattr(value, "__get__") and not isinstance(value, types.FunctionType | classmethod | staticmethod):
            members[name] = _Staged(value)
    return members


_ASKING = frozenset(["__eq__", "__getitem__", "__iter__", "__len__"])  # special methods


def _after_staging(method: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> T:
        for record in (self, *args):
            if isinstance(record, type(self)) and not record._is_staged:
                record._stage()
        return method(self, *args, **kwargs)

    return call


class _Staged:
    """An attribute that stages its object before it is read.

    Args:
        attribute: The descriptor to which it delegates.
    """

    def __init__(self, attribute: Any) -> None:
        self._attribute = attribute

    def __get__(self, record: Any, owner: type) -> Any:
        if record is not None and not record._is_staged:
            record._stage()
        return self._attribute.__get__(record, owner)

    def __set__(self, record: Any, value: object) -> None:
        if isinstance(self._attribute, property) and not record._is_staged:
            record._stage()  # the effect of the value depends on the result of staging
        self._attribute.__set__(record, value)

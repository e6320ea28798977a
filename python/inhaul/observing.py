"""What programs can see of running work: log records, and spans and metrics of OpenTelemetry.

A program that collects spans or metrics has imported OpenTelemetry. In all others inhaul does not import it, so that it
costs nothing there.
"""

import logging
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from inhaul.errors import InhaulError

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.trace import Span

Field: TypeAlias = str | bytes | os.PathLike[str] | int | float | None
"""A field of a record or span; None is left out."""

_Plain: TypeAlias = str | int | float

_SCOPE = "inhaul"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # seconds; a request may take minutes

logging.getLogger(_SCOPE).addHandler(logging.NullHandler())  # else Python prints warnings of a program without logging


def is_heard(logger: str, level: int) -> bool:
    """Returns True if a record of the logger `inhaul.{logger}` would be used."""
    return logging.getLogger(f"{_SCOPE}.{logger}").isEnabledFor(level)


def tell(logger: str, level: int, event: str, **fields: Field) -> None:
    """Logs an event. Each field is in the message and an attribute of the record.

    Args:
        logger: The logger `inhaul.{logger}`.
        level: The level.
        event: What happened, always in the same words.
        fields: What it happened to. They must be no secrets.
    """
    if is_heard(logger, level):
        extra = _plain(fields)
        text = ", ".join(f"{name}={value!r}" for name, value in extra.items())
        logging.getLogger(f"{_SCOPE}.{logger}").log(level, "%s: %s", event, text, extra=extra)


@contextmanager
def operation(name: str, *, level: int = logging.INFO, **fields: Field) -> Iterator[dict[str, Field]]:
    """Logs the begin and the end of an operation, and makes a span of it.

    Args:
        name: The name: the logger and the span are called `inhaul.{name}`.
        level: The level of its records. A failure is a warning, except on the level DEBUG.
        fields: What it works on.

    Yields:
        The outcome, to which the caller adds fields.
    """
    outcome: dict[str, Field] = {}
    tell(name, level, f"{name} began", **fields)
    start = perf_counter()

    def end(how: str, level: int) -> None:
        seconds = round(perf_counter() - start, 3)
        tell(name, level, f"{name} {how}", **fields | outcome | {"seconds": seconds})
        if span is not None:
            span.set_attributes(_attributes(outcome))

    with _span(name, fields) as span:
        try:
            yield outcome
        except BaseException as error:
            outcome["error"] = what = _text(error)
            is_warning = isinstance(error, Exception) and level > logging.DEBUG
            end("failed", logging.WARNING if is_warning else level)
            if span is not None:
                _set_failed(span, what)
            raise
        end("ended", level)


def _text(error: BaseException) -> str:
    """Returns an error as text. Those of other libraries may quote anything, so only their type is shown."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, InhaulError | OSError) else kind


def _plain(fields: Mapping[str, Field]) -> dict[str, _Plain]:
    """Returns fields as numbers, and as texts that can be encoded."""
    return {name: _encodable(value) for name, value in fields.items() if value is not None}


def _encodable(value: str | bytes | os.PathLike[str] | int | float) -> _Plain:
    if isinstance(value, int | float):
        return value
    return os.fsdecode(value).encode(errors="backslashreplace").decode()


def _span(name: str, fields: Mapping[str, Field]) -> "AbstractContextManager[Span | None]":
    if "opentelemetry.trace" not in sys.modules:
        return nullcontext()
    from opentelemetry import trace

    return trace.get_tracer(_SCOPE).start_as_current_span(
        f"{_SCOPE}.{name}", attributes=_attributes(fields), record_exception=False, set_status_on_exception=False
    )


def _set_failed(span: "Span", what: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, what)


def _attributes(fields: Mapping[str, Field]) -> dict[str, _Plain]:
    return {f"{_SCOPE}.{name}": value for name, value in _plain(fields).items()}


class Waiting:
    """The files of one job that were found and are not registered yet."""

    def __init__(self) -> None:
        self._found = self._done = 0
        self._marks: deque[tuple[int, float]] = deque()  # how many files were found, and when

    def found(self, files: int) -> None:
        """Takes note of how many files are found by now."""
        if files > self._found:
            self._found = files
            self._marks.append((files, monotonic()))

    def done(self, files: int) -> None:
        """Takes note that so many more files are registered, or are known to have failed."""
        self._done += files
        while self._marks and self._marks[0][0] <= self._done:
            self._marks.popleft()

    @property
    def files(self) -> int:
        """The number of files that wait."""
        return max(0, self._found - self._done)

    @property
    def seconds(self) -> float:
        """The seconds since the oldest of them was found; 0 if none waits."""
        try:
            return monotonic() - self._marks[0][1]
        except IndexError:
            return 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Includes the job in the metrics while it runs."""
        _instruments()
        _jobs.add(self)
        try:
            yield
        finally:
            _jobs.discard(self)


class Queue(Protocol):
    """The requests to one storage."""

    @property
    def under_way(self) -> int:
        """The number of requests under way."""

    @property
    def waiting(self) -> int:
        """The number of requests that wait until they may be sent."""


_jobs: set[Waiting] = set()
_queues: WeakKeyDictionary[Queue, str] = WeakKeyDictionary()
_requests_by_outcome: Counter[tuple[str, str, str]] = Counter()  # service, kind, outcome
_retries_by_reason: Counter[tuple[str, str]] = Counter()  # service, reason
_changing = threading.Lock()  # of these three: metrics are collected in a thread


def watch(queue: Queue, service: str) -> None:
    """Includes the requests to a storage in the metrics, as long as it is used."""
    _instruments()
    with _changing:
        _queues[queue] = service


def count_files(files: Mapping[str, int], nbytes: int) -> None:
    """Counts files by status, and the bytes of those that are registered."""
    if (made := _instruments()) is not None:
        for status, count in files.items():
            made.files.add(count, {"status": status})
        made.bytes.add(nbytes)


def count_request(service: str, kind: str, seconds: float, outcome: str = "ok") -> None:
    """Counts a request that was answered or failed.

    Args:
        service: The scheme of the storage.
        kind: The kind of request.
        seconds: Its time.
        outcome: `ok`, or the kind of its failure.
    """
    if (made := _instruments()) is not None:
        with _changing:
            _requests_by_outcome[service, kind, outcome] += 1
        made.seconds.record(seconds, {"service": service, "kind": kind})


def count_retry(service: str, reason: str) -> None:
    """Counts a request that is sent once more."""
    with _changing:
        _retries_by_reason[service, reason] += 1


class _Instruments:
    """The instruments of OpenTelemetry. If the program sets up no metrics, they do nothing."""

    def __init__(self) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter(_SCOPE)
        self.files = meter.create_counter("inhaul.files", "{file}", "Files of ingests and saved lists, by status")
        self.bytes = meter.create_counter("inhaul.bytes", "By", "Bytes of the files that are registered")
        self.seconds = meter.create_histogram(
            "inhaul.request.duration", "s", "Time of a request", explicit_bucket_boundaries_advisory=_BOUNDS
        )
        what = "Requests to storages, by outcome"
        meter.create_observable_counter("inhaul.requests", [_sent], "{request}", what)
        what = "Requests that were sent once more"
        meter.create_observable_counter("inhaul.retries", [_retried], "{request}", what)
        for name, unit, what, observe in (
            ("inhaul.files.waiting", "{file}", "Files found and not registered yet", _waiting_files),
            ("inhaul.lag", "s", "Time since the oldest of these files was found", _lag),
            ("inhaul.requests.active", "{request}", "Requests under way", _active),
            ("inhaul.requests.waiting", "{request}", "Requests that wait for their turn", _queued),
        ):
            meter.create_observable_gauge(name, [observe], unit, what)


def _instruments() -> _Instruments | None:
    return _made() if "opentelemetry.metrics" in sys.modules else None


@cache
def _made() -> _Instruments:
    return _Instruments()


def _waiting_files(_: "CallbackOptions") -> "Iterable[Observation]":
    return [_observation(sum(job.files for job in tuple(_jobs)), {})]


def _lag(_: "CallbackOptions") -> "Iterable[Observation]":
    return [_observation(max((job.seconds for job in tuple(_jobs)), default=0.0), {})]


def _active(_: "CallbackOptions") -> "Iterable[Observation]":
    return [_observation(count, {"service": service}) for service, (count, _) in _queue_sums().items()]


def _queued(_: "CallbackOptions") -> "Iterable[Observation]":
    return [_observation(count, {"service": service}) for service, (_, count) in _queue_sums().items()]


def _sent(_: "CallbackOptions") -> "Iterable[Observation]":
    with _changing:
        counts = dict(_requests_by_outcome)
    return [
        _observation(count, {"service": service, "kind": kind, "outcome": outcome})
        for (service, kind, outcome), count in counts.items()
    ]


def _retried(_: "CallbackOptions") -> "Iterable[Observation]":
    with _changing:
        counts = dict(_retries_by_reason)
    return [_observation(count, {"service": service, "reason": reason}) for (service, reason), count in counts.items()]


def _queue_sums() -> dict[str, tuple[int, int]]:
    """Returns how many requests are under way and wait, by service."""
    active, waiting = Counter[str](), Counter[str]()
    with _changing:
        for queue, service in _queues.items():
            active[service] += queue.under_way
            waiting[service] += queue.waiting
    return {service: (active[service], waiting[service]) for service in active}


def _observation(value: float, labels: Mapping[str, str]) -> "Observation":
    from opentelemetry.metrics import Observation

    return Observation(value, labels)

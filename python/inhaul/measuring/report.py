"""The report of `measure`, and its conclusions."""

from dataclasses import dataclass

_ADVICE = {
    "walk": "Listing the folder takes longest: fewer folders, or a disk nearer to this machine, would help.",
    "open": "Opening the files takes longest: fewer and larger files, or a disk nearer to this machine, would help.",
    "read": "Reading the files takes longest: a faster disk, or one nearer to this machine, would help.",
    "hash": "The processor is the limit: a machine with more cores would help.",
    "copy": "Writing to the storage takes longest: a storage on a faster disk would help, or one that contains the "
    "folder, since its files are then registered where they are.",
    "put": "Sending to the bucket takes longest: a faster line would help.",
    "put near": "The bucket accepts no more requests: fewer and larger files would help.",
    "put far": "Each request to the bucket takes {latency:,.0f} ms: a machine nearer to the bucket, or fewer and "
    "larger files, would help.",
    "rows": "Writing rows to the registry takes longest: a registry on a local disk, or a nearer server, would help.",
}
_STAGES = ("walk", "read", "copy", "put", "rows")  # they run at the same time in an ingest
_FAR = 0.02  # seconds for a request, from which the distance is what limits many small ones
_HALF = 0.5  # the share of a stage from which one of its parts is its limit


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """The speed of one step.

    The steps are `walk`, `open`, `read`, `hash`, `copy` or `put`, and `rows`. What was not measured is None.

    Attributes:
        name: The name of the step.
        files_per_second: Files per second, for small files of the folder; for `put`, objects of their mean size; rows
            for `rows`.
        bytes_per_second: Bytes per second, for large content if there is any.
        latency: Seconds that one operation takes, if nothing else runs.
        detail: What was measured, or why nothing was.
    """

    name: str
    files_per_second: float | None = None
    bytes_per_second: float | None = None
    latency: float | None = None
    detail: str = ""

    @property
    def is_measured(self) -> bool:
        """False if nothing was measured."""
        return (self.files_per_second, self.bytes_per_second, self.latency) != (None, None, None)

    def seconds_per_file(self, size: float) -> float | None:
        """Returns the seconds for a file of a size; None if nothing was measured."""
        times = []
        if self.files_per_second is not None:
            times.append(1 / self.files_per_second)
        if self.bytes_per_second is not None:
            times.append(size / self.bytes_per_second)
        return max(times, default=None)


@dataclass(frozen=True, slots=True)
class MeasureReport:
    """The outcome of `measure`.

    Attributes:
        path: The folder or file.
        storage: The root of the storage; None if writing to a storage was not measured.
        files: The number of files that were found.
        walked: Whether these are all files. The search ends after two seconds.
        mean_size: The mean size of a sample of the files, in bytes.
        steps: The steps, in their order in an ingest.
    """

    path: str
    storage: str | None
    files: int
    walked: bool
    mean_size: float
    steps: list[MeasuredStep]

    @property
    def limit(self) -> str:
        """The name of the step that limits an ingest."""
        stage = self._slowest
        if stage.name != "read":
            return stage.name
        whole = stage.seconds_per_file(self.mean_size) or 0
        if self._seconds("hash") >= _HALF * whole:
            return "hash"
        read_only = self.mean_size / stage.bytes_per_second if stage.bytes_per_second else 0
        return "open" if stage.files_per_second and read_only < _HALF * whole else "read"

    @property
    def files_per_second(self) -> float:
        """The files per second to expect of an ingest."""
        return 1 / (self._slowest.seconds_per_file(self.mean_size) or 0)

    @property
    def bytes_per_second(self) -> float:
        """The bytes per second to expect of an ingest."""
        return self.files_per_second * self.mean_size

    @property
    def advice(self) -> str:
        """A sentence about what limits an ingest, and what would help."""
        stage, name = self._slowest, self.limit
        if name == "put" and stage.latency and stage.files_per_second:
            of_bytes = self.mean_size / stage.bytes_per_second if stage.bytes_per_second else 0
            if 1 / stage.files_per_second > of_bytes:
                return _ADVICE["put far" if stage.latency > _FAR else "put near"].format(latency=1000 * stage.latency)
        return _ADVICE[name]

    @property
    def _slowest(self) -> MeasuredStep:
        return max(
            (step for step in self.steps if step.name in _STAGES),
            key=lambda step: step.seconds_per_file(self.mean_size) or 0,
        )

    def _seconds(self, name: str) -> float:
        (step,) = (step for step in self.steps if step.name == name)
        return step.seconds_per_file(self.mean_size) or 0

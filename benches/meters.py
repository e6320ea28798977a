"""What the jobs of the benches measure in their own process: seconds, CPU, memory and bytes read."""

import resource
import time
from pathlib import Path

import inhaul


class Meter:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start


def cpu_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def bytes_read() -> int:
    """Returns the bytes that this process has read by system calls, without those from sockets."""
    return int(Path("/proc/self/io").read_text().split()[1])


def status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


async def measured_ingest(folder: Path) -> dict[str, float]:
    """Ingests a folder into the current instance. Returns what that took."""
    seconds, cpu, memory, read = Meter(), cpu_time(), status("VmRSS"), bytes_read()
    report = await inhaul.ingest(folder)
    if report.failed or report.skipped:
        raise RuntimeError(f"{report!r} is not the whole corpus")
    return {
        "files": report.files,
        "seconds": seconds(),
        "cpu": cpu_time() - cpu,
        "memory": status("VmHWM") - memory,
        "read": (bytes_read() - read) / report.bytes,
    }

"""The outcome of ingests, in the short forms that tests of lists compare."""

import subprocess
from pathlib import Path

from commands import COMMAND
from inhaul import IngestReport, Reason, Status
from registries import query


def counts(report: IngestReport) -> dict[Status, int]:
    return {status: count for status, count in report.counts.items() if count}


def failed(report: IngestReport) -> dict[str, Reason]:
    return {Path(issue.path).name: issue.reason for issue in report.failed}


def skipped(report: IngestReport) -> dict[str, Reason]:
    return {Path(issue.path).name: issue.reason for issue in report.skipped}


async def keys(url: str) -> dict[str, tuple[int, str, str]]:
    """Returns size and hash by key of the latest versions."""
    found = await query(url, "SELECT key, size, hash, hash_type FROM artifact WHERE is_latest")
    return {row["key"]: (row["size"], row["hash"], row["hash_type"]) for row in found}


def ingest(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "ingest", *arguments]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)


def table(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.split() for line in done.stdout.splitlines()]

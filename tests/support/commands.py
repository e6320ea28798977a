"""The command line in separate processes, without the second that each would need to load inhaul."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("inhaul")
"""The command as it is installed."""

# This process has loaded inhaul, and each command is forked off it.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", "inhaul.cli", "inhaul.sync"])


def inhaul(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command until it ends, like a shell with both outputs in a pipe or file."""
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    paths = [f"/proc/{os.getpid()}/fd/{output}" for output in outputs]
    command = list(map(str, arguments))
    process = _processes.Process(target=_run, args=(command, cwd or Path.cwd(), os.environ | environment, paths))
    process.start()
    process.join(60)
    status = process.exitcode
    if status is None:
        process.kill()
        raise subprocess.TimeoutExpired(command, 60)
    process.close()
    printed = []
    for output in outputs:
        with os.fdopen(output) as file:
            printed.append(file.read())
    return subprocess.CompletedProcess(command, status, *printed)


def _run(command: list[str], cwd: Path, environment: dict[str, str], outputs: list[str]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = ["inhaul", *command]
    from inhaul.cli import app  # noqa: PLC0415 - loaded by the process that this one is forked off

    app(prog_name="inhaul")

"""Python programs that run beside a test."""

import os
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

# Ingests a folder. The arguments are a storage, the address of a database, and the folder.
INGEST = """
import asyncio, sys, inhaul
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        print("ready", flush=True)
        await inhaul.ingest(sys.argv[3])
        print("done", flush=True)
asyncio.run(main())
"""

# Runs `main()`, and then prints the most descriptors that there were at once.
FEW = """
import os, resource, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
peak, done = 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, len(os.listdir("/proc/self/fd")))
thread = threading.Thread(target=watch)
thread.start()
try:
    asyncio.run(main())
finally:
    done.set()
    thread.join()
print(peak)
"""

NOBODY = ("setpriv", "--reuid=65534", "--clear-groups") if os.geteuid() == 0 else ()
"""Before a command, this runs it as a user who owns nothing."""


def run(
    script: str, *arguments: str, wrapper: tuple[str, ...] = (), timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a program until it ends, in any way."""
    command = [*wrapper, sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def on_terminal(*command: str | Path, output: str = "stdout") -> bytes:
    """Runs a command with one of its outputs on a terminal, and the other one nowhere. Returns what is shown there."""
    main, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, output: terminal}
    with subprocess.Popen(command, **outputs) as child:
        os.close(terminal)
        shown = b""
        with suppress(OSError), os.fdopen(main, "rb", buffering=0) as file:  # which a read after the end raises
            while part := file.read(65536):
                shown += part
    assert child.returncode == 0
    return shown


def with_few_descriptors(script: str, *arguments: str, timeout: float = 60) -> tuple[str, int]:
    """Runs `main()` of a program, which may have 256 descriptors. Returns what it prints, and how many it has."""
    done = run(script + FEW, *arguments, timeout=timeout)
    assert done.stderr == ""
    *printed, peak = done.stdout.splitlines()
    return "\n".join(printed), int(peak)


def race(script: str, *arguments: str, processes: int = 8) -> list[str]:
    """Runs a program in several processes that pass its `input()` at the same moment. Returns the output of each.

    The program prints a line when it is ready for that.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout
        child.stdout.readline()
    for child in children:
        assert child.stdin
        with suppress(BrokenPipeError):  # the error of a failed process is shown below
            child.stdin.write("\n")
            child.stdin.flush()
    results = [child.communicate() for child in children]
    assert "".join(errors for _, errors in results) == ""
    assert all(child.returncode == 0 for child in children)
    return [output for output, _ in results]

"""Python programs that run beside a test."""

import subprocess
import sys
from contextlib import suppress

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


def run(
    script: str, *arguments: str, wrapper: tuple[str, ...] = (), timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a program until it ends, in any way."""
    command = [*wrapper, sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


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

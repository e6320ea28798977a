"""Times whole processes of small jobs, from their start to their end: `python benches/bench_start.py [BENCH ...]`.

Each job runs in turn with what does the same without a registry. The figures are wall seconds, and user and system CPU.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from distance import distant
from harness import HERE, Bench, Figures, main, ratio

sys.path.append(str(HERE.parent / "tests" / "support"))
from s3_servers import S3Server, seaweedfs

FILES = 100
AWAY = 0.1  # seconds
PYTHON = sys.executable
INHAUL = Path(PYTHON).with_name("inhaul")

SAVE = """
import sys, inhaul.sync as ih
ih.connect(sys.argv[1], sys.argv[2])
ih.Artifact(sys.argv[3], key="one.bin").save()
"""

FOLDER = """
import sys, inhaul.sync as ih
ih.connect(sys.argv[1], sys.argv[2])
ih.Artifact.from_dir(sys.argv[3]).save()
"""

BOTO3 = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import boto3
_, endpoint, bucket, prefix, folder = sys.argv
s3 = boto3.client("s3", endpoint_url=endpoint)
def put(name):
    with open(f"{folder}/{name}", "rb") as file:
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=file.read())
with ThreadPoolExecutor(10) as threads:
    list(threads.map(put, os.listdir(folder)))
"""


def process(*command: object, **environment: str) -> Figures:
    """Runs a program without the settings of inhaul that are set here. Python may keep compiled modules."""
    unwanted = ("INHAUL_", "PYTHONDONTWRITEBYTECODE")
    others = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True, env=others | environment)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def hundred(bench: Bench) -> Path:
    """Makes a folder of small files."""
    folder = bench.work() / "hundred"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.bin").write_bytes(os.urandom(4096))
    return folder


def commands(bench: Bench) -> None:
    """The commands that people wait for."""
    folder, root = hundred(bench), bench.work()
    process(INHAUL, "ingest", folder, "--storage", root)
    seen = bench.in_turn(
        "commands",
        python=lambda: process(PYTHON, "-c", "pass"),
        help=lambda: process(INHAUL, "--help"),
        version=lambda: process(INHAUL, "--version"),
        ls=lambda: process(INHAUL, "ls", "--storage", root),
    )
    ratio("seconds: inhaul --help", seen["help"]["seconds"], "<= 0.25")
    ratio("seconds: inhaul ls", seen["ls"]["seconds"], "<= 0.5")


def local(bench: Bench) -> None:
    """One file, and a hundred, into a new local storage."""
    folder = hundred(bench)
    one = folder / "0.bin"

    def job(script: str, source: Path) -> Figures:
        work = bench.work()
        return process(PYTHON, "-c", script, work / "storage", f"sqlite:///{work}/registry.db", source)

    seen = bench.in_turn(
        f"one file, and {FILES} of 4 KiB, to a new local storage",
        cp_one=lambda: process("cp", one, bench.work()),
        one=lambda: job(SAVE, one),
        cp_all=lambda: process("cp", "-r", folder, bench.work()),
        all=lambda: job(FOLDER, folder),
    )
    ratio("seconds: one Artifact(path).save()", seen["one"]["seconds"], "<= 0.5")


def s3(bench: Bench) -> None:
    """One file, and a hundred, into a new storage on S3, nearby and far away."""
    folder = hundred(bench)
    with seaweedfs() as server:
        _s3(bench, folder, server, server.endpoint_url, "nearby")
        with distant(server.port, AWAY) as endpoint:
            _s3(bench, folder, server, endpoint, f"{AWAY * 1000:.0f} ms away")


def _s3(bench: Bench, folder: Path, server: S3Server, endpoint: str, where: str) -> None:
    bucket = server.bucket()

    def job(script: str, source: Path) -> Figures:
        work = bench.work()
        root = f"s3://{bucket}/{work.name}?endpoint_url={endpoint}"
        database = f"sqlite:///{work}/registry.db"
        return process(PYTHON, "-c", script, root, database, source, **server.environment)

    def boto3() -> Figures:
        prefix = bench.work().name
        return process(PYTHON, "-c", BOTO3, endpoint, bucket, prefix, folder, **server.environment)

    def s5cmd() -> Figures:
        target = f"s3://{bucket}/{bench.work().name}/"
        program = Path(PYTHON).with_name("s5cmd")
        return process(program, "--endpoint-url", endpoint, "cp", f"{folder}/", target, **server.environment)

    boto3()  # the server makes its volumes
    seen = bench.in_turn(
        f"one file, and {FILES} of 4 KiB, to a new storage on S3 {where}",
        s5cmd=s5cmd,
        boto3=boto3,
        one=lambda: job(SAVE, folder / "0.bin"),
        all=lambda: job(FOLDER, folder),
    )
    ratio(f"seconds over s5cmd: {FILES} files", seen["all"]["seconds"] - seen["s5cmd"]["seconds"], "<= 0.7")
    ratio(f"wall: inhaul / boto3, {FILES} files", seen["all"]["seconds"] / seen["boto3"]["seconds"], "none")


if __name__ == "__main__":
    main(__doc__, {"commands": commands, "local": local, "s3": s3})

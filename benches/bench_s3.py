"""Times ingests into S3 against bare uploads and prints ratios: `python benches/bench_s3.py [BENCH ...]`.

The server is SeaweedFS; for `sparse` and for the small objects of `far`, it is one that keeps nothing. It shares the
cores with the contestants.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import corpus
from distance import distant
from harness import HERE, Bench, Figures, main, ratio, run
from sink import sink

sys.path.append(str(HERE.parent / "tests" / "support"))
from s3_servers import S3Server, seaweedfs

IN_FLIGHT = 64


class Storage:
    """A server with a bucket, and the contestants that send to it."""

    def __init__(self, bench: Bench, endpoint_url: str, environment: dict[str, str], bucket: str) -> None:
        self.bench = bench
        self.endpoint_url = endpoint_url
        self.environment = environment
        self.bucket = bucket

    @classmethod
    def on(cls, server: S3Server, bench: Bench) -> Self:
        """A new bucket of a server."""
        return cls(bench, server.endpoint_url, server.environment, server.bucket())

    def job(self, name: str, folder: Path) -> Figures:
        """Runs one of `s3_jobs.py`."""
        script, work = HERE / "s3_jobs.py", self.bench.work()
        return json.loads(run(script, name, folder, work, self.endpoint_url, self.bucket, **self.environment))

    def s5cmd(self, folder: Path, *options: str) -> Figures:
        """Uploads the folder."""
        target = f"s3://{self.bucket}/{self.bench.work().name}/"
        command = [Path(sys.executable).with_name("s5cmd"), "--endpoint-url", self.endpoint_url]
        command += [*options, f"{folder}/", target]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=os.environ | self.environment)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"seconds": seconds, "cpu": cpu}


def small(bench: Bench) -> None:
    """Many small objects."""
    folder = bench.corpus("objects")
    with seaweedfs() as server:
        storage = Storage.on(server, bench)
        storage.job("bare-small", folder)  # the server makes its volumes
        seen = bench.in_turn(
            f"objects of 4 KiB, {IN_FLIGHT} in flight",
            bare=lambda: storage.job("bare-small", folder),
            inhaul=lambda: storage.job("inhaul", folder),
            s5cmd=lambda: storage.s5cmd(folder, "--numworkers", str(IN_FLIGHT), "cp"),
        )
    inhaul, bare, s5cmd = seen["inhaul"], seen["bare"], seen["s5cmd"]
    ratio("objects/s: inhaul / bare obstore", bare["seconds"] / inhaul["seconds"], ">= 0.95")
    ratio("objects/s: inhaul / s5cmd", s5cmd["seconds"] / inhaul["seconds"], ">= 1")
    ratio("client CPU: inhaul / bare", inhaul["cpu"] / bare["cpu"], "<= 1.25")
    ratio("bytes read / bytes ingested", inhaul["read"], "0.98 to 1.02")


def large(bench: Bench) -> None:
    """One large object, in parts."""
    folder = bench.corpus("gigabyte")
    with seaweedfs() as server:
        storage = Storage.on(server, bench)
        storage.job("bare-large", folder)
        seen = bench.in_turn(
            "1 GiB in parts of 8 MiB",
            bare=lambda: storage.job("bare-large", folder),
            inhaul=lambda: storage.job("inhaul", folder),
        )
    inhaul, bare = seen["inhaul"], seen["bare"]
    ratio("wall: inhaul / bare obstore", inhaul["seconds"] / bare["seconds"], "<= 1.1")
    ratio("client CPU: inhaul / bare", inhaul["cpu"] / bare["cpu"], "<= 1.4")
    ratio("memory over idle, MB", inhaul["memory"] / 1e6, "<= 250")
    ratio("bytes read / bytes ingested", inhaul["read"], "0.98 to 1.02")


def far(bench: Bench) -> None:
    """Objects for servers that are 20 and 100 ms away. s5cmd has its 256 workers, and parts of the same size."""
    few, gigabyte = bench.corpus("few"), bench.corpus("gigabyte")
    anyone = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    with sink() as endpoint:  # SeaweedFS on the same cores would be the slowest of all
        for milliseconds in (20, 100):
            with distant(urlsplit(endpoint).port or 80, milliseconds / 1000) as away:
                _far(bench, few, Storage(bench, away, anyone, "bucket"), milliseconds)
    with seaweedfs() as server, distant(server.port, 0.1) as away:
        storage = Storage(bench, away, server.environment, server.bucket())
        seen = bench.in_turn(
            "1 GiB in parts of 8 MiB, 100 ms away",
            inhaul=lambda: storage.job("inhaul", gigabyte),
            s5cmd=lambda: storage.s5cmd(gigabyte, "cp", "--part-size", "8"),
        )
    ratio("wall: inhaul / s5cmd", seen["inhaul"]["seconds"] / seen["s5cmd"]["seconds"], "<= 1.1")


def _far(bench: Bench, folder: Path, storage: Storage, milliseconds: int) -> None:
    seen = bench.in_turn(
        f"objects of 4 KiB, {milliseconds} ms away",
        inhaul=lambda: storage.job("inhaul", folder),
        s5cmd=lambda: storage.s5cmd(folder, "cp"),
    )
    ratio("objects/s: inhaul / s5cmd", seen["s5cmd"]["seconds"] / seen["inhaul"]["seconds"], ">= 1")


def sparse(bench: Bench) -> None:
    """One file of 20 GB, sent to a server that keeps nothing."""
    folder = corpus.make(bench.root / "corpora", "sparse", bench.scale)
    with sink() as endpoint:
        storage = Storage(bench, endpoint, {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}, "bucket")
        seen = bench.in_turn("20 GB in parts of 8 MiB", inhaul=lambda: storage.job("inhaul", folder))
    ratio("memory over idle, MB", seen["inhaul"]["memory"] / 1e6, "<= 300")
    ratio("bytes read / bytes ingested", seen["inhaul"]["read"], "0.98 to 1.02")


if __name__ == "__main__":
    main(__doc__, {"small": small, "large": large, "far": far, "sparse": sparse})

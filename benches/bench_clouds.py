"""Times ingests into Google Cloud Storage and Azure, and prints ratios: `python benches/bench_clouds.py [BENCH ...]`.

The servers are Azurite and, for Google, the strict one of the tests: the time of fake-gcs-server grows with every
object. They share the cores with the contestants.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import HERE, Bench, Figures, main, ratio, run

sys.path.append(str(HERE.parent / "tests" / "support"))
from azure_servers import AzureServer, azurite
from gcs_servers import GcsServer, strict


def contestants(
    bench: Bench, corpus: str, scheme: str, server: GcsServer | AzureServer, options: dict[str, Any]
) -> Callable[[str], Figures]:
    """Returns a function that runs one of `cloud_jobs.py` on a new bucket of a server."""
    folder, bucket = bench.corpus(corpus), server.bucket()
    script = HERE / "cloud_jobs.py"
    root = f"{scheme}://{bucket}"
    return lambda name: json.loads(run(script, name, folder, bench.work(), root, json.dumps(options)))


def compare(title: str, bench: Bench, job: Callable[[str], Figures], **others: str) -> None:
    """Runs an ingest and others in turn."""
    named = {name: partial(job, other) for name, other in {"inhaul": "inhaul", **others}.items()}
    seen = bench.in_turn(title, **named)
    inhaul, fsspec = seen["inhaul"], seen["fsspec"]
    for name in others:
        asked = "> 1" if name == "fsspec" else "-"
        ratio(f"objects/s: inhaul / {name}", seen[name]["seconds"] / inhaul["seconds"], asked)
    ratio("client CPU: inhaul / fsspec", inhaul["cpu"] / fsspec["cpu"], "< 1")


def gcs(bench: Bench) -> None:
    """Many small objects on Google Cloud Storage; fsspec means gcsfs."""
    with strict() as server:
        job = contestants(bench, "objects", "gs", server, server.options)
        compare("objects of 4 KiB on the strict Google", bench, job, plain="plain-gs", fsspec="fsspec")


def azure(bench: Bench) -> None:
    """Many small objects on Azure; fsspec means adlfs."""
    with azurite() as server:
        job = contestants(bench, "objects", "az", server, {"connection_string": server.connection_string})
        others = {"plain": "plain-az", "obstore": "obstore-az", "fsspec": "fsspec"}
        compare("objects of 4 KiB on Azurite", bench, job, **others)


def large(bench: Bench) -> None:
    """One object of 2 GiB, in parts, on each."""
    for name, scheme, server in (("the strict Google", "gs", strict), ("Azurite", "az", azurite)):
        with server() as one:
            options = one.options if scheme == "gs" else {"connection_string": one.connection_string}
            job = contestants(bench, "big", scheme, one, options)
            seen = bench.in_turn(f"2 GiB in parts on {name}", inhaul=partial(job, "inhaul"))
            ratio("memory over idle, MB", seen["inhaul"]["memory"] / 1e6, "<= 250")
            ratio("bytes read / bytes ingested", seen["inhaul"]["read"], "0.98 to 1.02")


if __name__ == "__main__":
    main(__doc__, {"gcs": gcs, "azure": azure, "large": large})

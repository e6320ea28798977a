"""A real Ceph with its gateway, from Debian's packages: one monitor, one object store in memory, one gateway."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from s3_servers import KEY, SECRET, S3Server, free_ports, running, wait_until

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
PACKAGES = "ceph-mon ceph-osd ceph-common radosgw"

_CONFIG = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
auth cluster required = none
auth service required = none
auth client required = none
osd objectstore = memstore
memstore device bytes = 3221225472
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
mon allow pool size one = true
mon max pg per osd = 2000
osd crush chooseleaf type = 0
osd max object name len = 2048
compressor zlib isal = false
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
run dir = {folder}
crash dir = {folder}
mon data = {folder}/mon
osd data = {folder}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw data = {folder}
"""


def missing() -> list[str]:
    """Returns the programs of Ceph that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def ceph() -> Iterator[S3Server]:
    """Starts the gateway and its servers, and stops all of them at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as started:
        folder, fsid = Path(name), str(uuid4())
        monitor, gateway = free_ports(2)
        (folder / "mon").mkdir()
        (folder / "osd").mkdir()
        (folder / "ceph.conf").write_text(_CONFIG.format(fsid=fsid, monitor=monitor, gateway=gateway, folder=folder))
        environment = {**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}

        def run(*command: str) -> None:
            subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)

        def start(*command: str) -> None:
            started.enter_context(running([*command, "-f"], environment))

        address = f"[v1:127.0.0.1:{monitor}]"
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
        run("ceph-mon", "--mkfs", "-i", "a", "--fsid", fsid, "--monmap", str(folder / "monmap"))
        start("ceph-mon", "-i", "a")
        store = str(uuid4())
        wait_until(lambda: run("ceph", "osd", "new", store))
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        start("ceph-osd", "-i", "0")
        start("radosgw", "-n", "client.rgw")
        user = ("--uid=test", "--display-name=test", f"--access-key={KEY}", f"--secret-key={SECRET}")
        wait_until(lambda: run("radosgw-admin", "user", "create", *user))
        server = S3Server(gateway, "ceph")
        wait_until(lambda: server.client.list_buckets())
        yield server

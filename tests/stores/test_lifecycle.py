"""What using a storage in a bucket leaves behind: after an exit, after a cancellation, and in what is printed."""

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

from inhaul._core import PartReader
from inhaul.errors import InhaulError
from inhaul.stores.remote.parts import NoJournal
from inhaul.stores.s3.store import S3Store
from places import QUICK, RemotePlace, put
from proxy import Delay, Status
from registries import seeds
from s3_places import Place
from s3_servers import KEY, SECRET

_SHORT = """
import asyncio, hashlib, os, sys
from inhaul.stores import schemes

async def main():
    store = schemes.make(sys.argv[1], {})
    name = os.urandom(8).hex()
    md5 = hashlib.md5(b"content").hexdigest()
    await asyncio.gather(*(store.put_small(f"{name}/{number}", b"content", md5) for number in range(5)))
    if sys.argv[2] == "close":
        await store.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", ["close", "leave"])
def test_short_processes_end_well(service_place: RemotePlace, ending: str) -> None:
    place = service_place
    count = 250 if "SOAK" in os.environ else 3
    environment = {**os.environ, **place.server.environment}
    for _ in range(count):
        command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", _SHORT, place.root, ending]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert child.returncode == 0, child.stderr
        if ending == "close":
            assert child.stderr == ""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> set[str]:
    """Returns the threads, without those that the loop keeps."""
    return {one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")}


@seeds(3, 200)
async def test_calls_cancelled_at_any_time_leave_nothing(service_place: RemotePlace, tmp_path: Path, seed: int) -> None:
    place, rng = service_place, random.Random(seed)
    (tmp_path / "large").write_bytes(rng.randbytes(11 << 20))
    place.put("there", bytes(11 << 20))
    warm = place.store()
    await put(warm, "warm", b"")  # obstore's threads stay as long as the process
    await warm.aclose()
    before, running = descriptors(), threads()
    place.proxy.add(Delay(0.05), share=0.5)
    store = place.store()
    await put(store, "first", b"")

    async def use() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(store.put_large(".inhaul/0/large", PartReader(tmp_path / "large", 5 << 20), NoJournal()))
            group.create_task(store.fetch("there", tmp_path / "copy", 11 << 20))
            for number in range(100):
                group.create_task(put(store, str(number), b"content", exclusive=bool(number % 2)))

    tasks = asyncio.all_tasks()
    task = asyncio.create_task(use())
    await asyncio.wait([task], timeout=rng.uniform(0, 1.0))
    task.cancel()
    cancelled = time.monotonic()
    await asyncio.wait([task])
    assert time.monotonic() - cancelled < 2
    assert asyncio.all_tasks() == tasks
    # A part that was under way when its upload ended is still taken where we name the uploads.
    assert place.uploads() == [] or place.names_uploads
    assert not task.cancelled() or not (tmp_path / "copy").exists() or (tmp_path / "copy").stat().st_size == 11 << 20
    await store.aclose()
    place.proxy.down()
    if isinstance(place, Place):
        place.server.client.close()
    # The proxy is in this process, too: its threads close their ends of the connections when they notice.
    async with asyncio.timeout(10):
        while descriptors() > before:
            await asyncio.sleep(0.05)
    assert threads() == running


async def test_credentials_are_not_shown(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "inhaul")
    token = f"token-{SECRET[::-1]}"
    options = {"key": KEY, "secret": SECRET, "token": token}
    shown = []
    answers = [(403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (400, "ExpiredToken"), (400, "Unknown")]
    for status, code in answers:
        store = S3Store(place.address, options, QUICK)
        place.proxy.clear()
        place.proxy.add(Status(status, f"{code}</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId><Code>"))
        for call in (put(store, "key", b"content"), anext(aiter(store.list())), store.remove(["key"])):
            with pytest.raises(InhaulError) as raised:
                await call
            shown.append("".join(traceback.format_exception(raised.value)))
        shown += [repr(store), str(store), store.root, repr(store.path("key")), str(store.path("key"))]
        await store.aclose()
    text = "\n".join([*shown, *(record.getMessage() for record in caplog.records if record.name.startswith("inhaul"))])
    assert "access denied (403 InvalidAccessKeyId)" in text
    for secret in (KEY, SECRET, token):
        assert secret not in text


@pytest.mark.parametrize("options", [{"keys": "x"}, {"key": "x"}, {"secret": SECRET}, {"token": "x"}])
def test_options_that_would_have_no_effect_are_refused(place: Place, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="storage_options") as raised:
        S3Store(place.address, options)
    assert SECRET not in str(raised.value)

"""What programs see of a job: its log records, and its spans and metrics in OpenTelemetry."""

import asyncio
import json
import logging
import re
import sqlite3
from pathlib import Path

import pytest

import children
import inhaul
from places import put
from proxy import Reset, Status
from s3_places import Place
from trees import write

GOLDEN = Path(__file__).parents[1] / "golden"
SIGNED = re.compile(r"Signature|Authorization|AWS4-HMAC", re.IGNORECASE)
PART = 8 << 20
CONTENT = "never-in-a-record"

# Sets up OpenTelemetry as users do, ingests a folder into a storage, and prints what was collected.
_COLLECTED = """
import asyncio, json, sys
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
import inhaul

def gauges():
    lines = [line.rpartition(" ") for line in generate_latest().decode().splitlines() if line.startswith("inhaul")]
    return {name.partition("{")[0]: float(value) for name, _, value in lines}

async def main():
    storage, db, folder = sys.argv[1:]
    most = {}
    async with inhaul.connect(storage, db):
        ingesting = asyncio.create_task(inhaul.ingest(folder))
        while not ingesting.done():
            for name, value in (await asyncio.to_thread(gauges)).items():
                most[name] = max(value, most.get(name, 0))
            await asyncio.sleep(0.01)
        await ingesting
        try:
            await inhaul.ingest(folder, "f", on_event=lambda event: 1 / 0, rehash=True)
        except ZeroDivisionError:
            pass
        await inhaul.gc()
        await inhaul.Artifact.from_dir(folder).save()
        saved = inhaul.Artifact.from_dir(folder)
        await saved.save()
        await saved.cache()
        await inhaul.verify()
    seen = []
    for one in spans.get_finished_spans():
        ids = one.parent and one.parent.span_id, one.context.span_id
        seen.append((one.name, dict(one.attributes), one.status.status_code.name, *ids))
    print(json.dumps({"text": generate_latest().decode(), "most": most, "spans": seen}))

asyncio.run(main())
"""

_WITHOUT = """
import asyncio, sys
import inhaul
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        await inhaul.ingest(sys.argv[3])
        await inhaul.verify()
asyncio.run(main())
from inhaul import observing
print([name for name in sys.modules if name.startswith("opentelemetry")], observing._made.cache_info().currsize)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(40):
        write(tmp_path / "tree" / f"{number}.txt", f"{CONTENT} {number}")
    write(tmp_path / "tree" / "large.bin", bytes(2 * PART + 5))
    return tmp_path / "tree"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What inhaul logs, on all levels."""
    caplog.set_level(logging.DEBUG, logger="inhaul")
    return caplog


def of(log: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    """Returns the fields of the records of an event."""
    return [vars(one) for one in log.records if one.getMessage().startswith(f"{event}: ")]


async def test_an_ingest_through_a_bad_network_tells_what_it_does_and_no_secret(
    place: Place, url: str, tree: Path, log: pytest.LogCaptureFixture
) -> None:
    place.proxy.add(Status(500), when=lambda request: request.stores, times=3)
    place.proxy.add(Reset(), when=lambda request: request.stores, times=3)
    async with inhaul.connect(place.root, url, storage_options=place.options):
        report = await inhaul.ingest(tree)
    assert (report.files, report.failed) == (41, [])

    (began,) = of(log, "ingest began")
    assert (began["folder"], began["storage"], began["levelname"]) == (str(tree), place.root, "INFO")
    (ended,) = of(log, "ingest ended")
    assert (ended["files"], ended["new"], ended["failed"], ended["bytes"]) == (41, 41, 0, report.bytes)
    assert isinstance(ended["seconds"], float)
    again = of(log, "a request is sent again")
    assert len(again) >= 6
    assert {one["error"] for one in again} >= {"500 InternalError"}
    assert {one["kind"] for one in again} == {"s3:PutObject"}
    (upload,) = of(log, "upload ended")
    assert (upload["bytes"], upload["levelname"]) == (2 * PART + 5, "DEBUG")
    heard = [one for one in log.records if one.levelno > logging.DEBUG]
    assert len(heard) == 2, "no record for each file"

    ours = [one for one in log.records if one.name.startswith("inhaul.")]
    assert len(ours) >= 10
    shown = "\n".join(f"{one.getMessage()} {vars(one)}" for one in ours)
    for secret in (*place.server.options.values(), *place.server.environment.values(), CONTENT):
        assert secret not in shown
    assert not SIGNED.search(shown)


async def test_a_storage_that_is_away_is_a_warning_until_it_is_back(
    place: Place, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("inhaul.stores.remote.requests._AWAY", 0.5)
    store = place.store()
    place.proxy.add(Status(500))
    putting = asyncio.create_task(put(store, "a", b"a"))
    while not of(log, "no request succeeds"):
        await asyncio.sleep(0.01)
    assert not putting.done()
    place.proxy.clear()
    await putting
    await store.aclose()
    (away,) = of(log, "no request succeeds")
    assert (away["levelname"], away["storage"], away["error"]) == ("WARNING", place.root, "500 InternalError")
    (back,) = of(log, "requests succeed again")
    assert isinstance(back["seconds"], float)
    assert back["seconds"] >= 0.5


async def test_a_lowered_rate_is_told(place: Place, log: pytest.LogCaptureFixture) -> None:
    place.proxy.add(Status(503, "SlowDown"), times=1)
    store = place.store()
    await put(store, "a", b"a")
    await store.aclose()
    (lowered,) = of(log, "the rate of requests is lowered")
    assert (lowered["levelname"], lowered["storage"], lowered["per_second"]) == ("INFO", place.root, 50.0)


async def test_a_failed_ingest_and_the_one_that_continues_it_are_told(
    instance: inhaul.Instance, tree: Path, log: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError):
        await inhaul.ingest(tree, on_event=lambda event: 1 / 0)
    (failed,) = of(log, "ingest failed")
    assert (failed["levelname"], failed["error"]) == ("WARNING", "ZeroDivisionError"), "it may quote anything"
    await inhaul.ingest(tree)
    (continued,) = of(log, "a crashed ingest is continued")
    assert (continued["folder"], continued["storage"]) == (str(tree), instance.root)


async def test_files_that_fail_are_told_only_to_who_debugs(
    instance: inhaul.Instance, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = write(tree / "\udcff\n", "")
    (tree / "link").symlink_to("0.txt")
    caplog.set_level(logging.INFO, logger="inhaul")
    await inhaul.ingest(tree)
    assert [one.name for one in caplog.records] == ["inhaul.ingest"] * 2
    caplog.set_level(logging.DEBUG, logger="inhaul")
    await inhaul.ingest(tree)
    (failed,) = of(caplog, "a file failed")
    assert (failed["path"], failed["reason"]) == (str(odd).replace("\udcff", "\\udcff"), "not_utf8")
    assert "\n" not in caplog.records[-2].getMessage()
    (skipped,) = of(caplog, "a file skipped")
    assert skipped["reason"] == "symlink"


async def test_a_migration_is_told(tmp_path: Path, url: str, log: pytest.LogCaptureFixture) -> None:
    old = sqlite3.connect(tmp_path / "registry.db")
    old.executescript((GOLDEN / "0002.sql").read_text())
    old.close()
    async with inhaul.connect(tmp_path / "storage", url):
        await inhaul.Artifact.filter().count()
    (ended,) = of(log, "migrate ended")
    assert (ended["registry"], ended["revision"]) == (str(tmp_path / "registry.db"), "0002")


async def test_upkeep_is_told(instance: inhaul.Instance, tree: Path, log: pytest.LogCaptureFixture) -> None:
    await inhaul.Artifact.from_dir(tree).save()
    assert of(log, "save ended")[0]["new"] == 41
    await inhaul.verify()
    assert of(log, "verify ended")[0]["checked"] == 41
    await inhaul.gc()
    assert of(log, "gc ended")[0]["objects"] == 0


def test_opentelemetry_gets_spans_and_metrics(
    place: Place, url: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place.server.environment.items():
        monkeypatch.setenv(name, value)
    write(tree / "\udcff", "")
    place.proxy.add(Status(500), when=lambda request: request.stores, times=3)
    ran = children.run(_COLLECTED, place.root, url, str(tree))
    assert ran.returncode == 0, ran
    seen = json.loads(ran.stdout)

    def value(name: str, **labels: str) -> float:
        wanted = [f"{name}{{", *(f'{label}="{text}"' for label, text in labels.items())]
        lines = [line for line in seen["text"].splitlines() if all(part in line for part in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    size = 2 * PART + 5 + sum(len(f"{CONTENT} {number}") for number in range(40))
    assert value("inhaul_files_total", status="new") == 2 * 41, "the second key too"
    assert value("inhaul_files_total", status="unchanged") == 2 * 41
    assert value("inhaul_files_total", status="failed") == 4
    assert value("inhaul_bytes_total") == 4 * size
    assert value("inhaul_retries_total", service="s3", reason="retry") == 3
    assert value("inhaul_requests_total", service="s3", kind="s3:PutObject", outcome="retry") == 3
    answered = value("inhaul_requests_total", service="s3", kind="s3:PutObject")
    assert value("inhaul_request_duration_seconds_count", service="s3", kind="s3:PutObject") == answered
    assert value("inhaul_request_duration_seconds_bucket", kind="s3:PutObject", le="2.5") == answered
    assert value("inhaul_files_waiting") == value("inhaul_lag_seconds") == value("inhaul_requests_active") == 0
    assert 0 < seen["most"]["inhaul_files_waiting"] <= 41
    assert seen["most"]["inhaul_lag_seconds"] > 0
    assert seen["most"]["inhaul_requests_active"] > 0

    names = [name for name, *_ in seen["spans"]]
    assert {"inhaul.save", "inhaul.verify", "inhaul.gc", "inhaul.cache"} <= set(names)
    (ingest, failed) = (one for one in seen["spans"] if one[0] == "inhaul.ingest")
    assert ingest[1]["inhaul.files"] == 42
    assert (ingest[2], failed[2]) == ("UNSET", "ERROR")
    assert failed[1]["inhaul.error"] == "ZeroDivisionError"
    inside = {one[4]: one[0] for one in seen["spans"]}
    parents = {(one[0], inside.get(one[3])) for one in seen["spans"]}
    assert {("inhaul.upload", "inhaul.ingest"), ("inhaul.download", "inhaul.cache")} <= parents


def test_without_opentelemetry_in_the_program_it_is_not_imported(tmp_path: Path, url: str, tree: Path) -> None:
    ran = children.run(_WITHOUT, str(tmp_path / "storage"), url, str(tree))
    assert (ran.stdout, ran.stderr) == ("[] 0\n", "")

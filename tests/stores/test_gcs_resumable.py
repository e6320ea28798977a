"""Large objects on Google Cloud Storage are sent in chunks, continued after a crash, and never left half done."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gcs_objects import QUANTUM, Conditions, Hashes
from gcs_places import GcsPlace, is_a, is_last, kind
from inhaul._core import PartReader
from inhaul.errors import FileChanged, KeyExists, ObjectRefused, StorageUnavailable
from inhaul.hashing import Digest, hash_bytes, hash_file
from inhaul.stores.base import Upload
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.parts import NoJournal
from journals import FileJournal, uploading
from places import RemotePlace
from proxy import Cut, Delay, Drop, Fault, Flip, FlipReply, Request, Reset, Status
from registries import seeds
from strict_gcs import Break

PART = 2 * QUANTUM
PARTS = 5
DATA = random.Random(0).randbytes(PART * (PARTS - 1) + 12345)


@pytest.fixture
def place(strict_gcs_place: GcsPlace) -> GcsPlace:
    return strict_gcs_place


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(DATA)
    return tmp_path / "source"


async def put(store: GcsStore, source: Path, journal: FileJournal | NoJournal, **options: bool) -> tuple[Digest, str]:
    return await store.put_large("key", PartReader(source, PART), journal, **options)


def bytes_sent(place: GcsPlace) -> int:
    """Returns the bytes of all chunks that arrived."""
    return sum(call.received for call in place.calls if kind(call.request) == "chunk")


async def test_the_digest_is_ours_and_the_checksum_googles(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    digest, verified = await put(store, source, journal)
    assert (digest, verified) == (hash_file(source, part_size=PART), "checksum")
    assert strict_gcs_place.contents() == {"key": DATA}
    assert len(strict_gcs_place.requests("chunk")) == PARTS
    assert bytes_sent(strict_gcs_place) == len(DATA)
    assert strict_gcs_place.requests("ask", "look", "read") == []
    assert all("x-goog-hash" in request.headers for request in strict_gcs_place.requests("chunk") if is_last(request))
    assert journal.get("key") is None


@pytest.mark.parametrize("size", [PART, PART + 1, 3 * PART - 1, 3 * PART], ids=str)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_any_size_arrives(
    strict_gcs_place: GcsPlace, store: GcsStore, tmp_path: Path, size: int, exclusive: bool
) -> None:
    (tmp_path / "data").write_bytes(DATA[:size])
    assert (await put(store, tmp_path / "data", NoJournal(), exclusive=exclusive))[1] == "checksum"
    assert strict_gcs_place.contents() == {"key": DATA[:size]}


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        (is_a("begin"), Status(500)),
        (is_a("begin"), Drop()),
        (is_a("begin"), Cut(0)),
        (is_a("chunk"), Status(503)),
        (is_a("chunk"), Status(429)),
        (is_a("chunk"), Reset()),
        (is_a("chunk"), Drop()),
        (is_a("chunk"), Delay(3)),
        (is_a("chunk"), Break(QUANTUM + 5)),
        (is_a("chunk"), Break(100)),
        (is_last, Status(500)),
        (is_last, Reset()),
        (is_last, Drop()),
        (is_last, Cut(10)),
        (is_last, FlipReply()),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_passes_is_tried_again(
    strict_gcs_place: GcsPlace, source: Path, when: Callable[[Request], bool], fault: Fault | Break, exclusive: bool
) -> None:
    strict_gcs_place.strict.add(fault, when=when, times=2)
    store = strict_gcs_place.store(Limits(no_progress=1, give_up=30, backoff=0.02))
    assert (await put(store, source, NoJournal(), exclusive=exclusive))[1] == "checksum"
    await store.aclose()
    assert strict_gcs_place.contents() == {"key": DATA}


async def test_after_a_failure_the_server_is_asked_what_it_has(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path
) -> None:
    """aiohttp would send a PUT again by itself, and nobody would know."""
    strict_gcs_place.strict.add(Break(QUANTUM + 5), when=is_a("chunk"), after=1, times=1)
    await put(store, source, NoJournal())
    kinds = [kind(call.request) for call in strict_gcs_place.calls]
    assert kinds == ["begin", "chunk", "chunk", "ask", *["chunk"] * (PARTS - 1), "label"]
    # The log has all of the broken chunk, of which the server kept one quantum: only the rest is sent again.
    assert bytes_sent(strict_gcs_place) == len(DATA) + PART - QUANTUM


@pytest.mark.parametrize("cloud_place", ["strict_gcs", "emulator"], indirect=True)
async def test_a_chunk_that_never_arrived_is_sent_again(cloud_place: RemotePlace, source: Path) -> None:
    cloud_place.proxy.add(Status(503), when=is_a("chunk"), times=1)
    store = cloud_place.store(Limits(backoff=0.02))
    assert (await put(store, source, NoJournal()))[1] == "checksum"
    await store.aclose()
    assert cloud_place.contents() == {"key": DATA}


@pytest.mark.parametrize("fault", [Status(403), Status(412), Status(404), Status(400)], ids=repr)
async def test_metadata_that_cannot_be_added_are_done_without(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, fault: Fault
) -> None:
    strict_gcs_place.strict.add(fault, when=is_a("label"))
    assert (await put(store, source, NoJournal(), exclusive=True))[1] == "checksum"
    stat = await store.stat("key")
    assert stat and stat.digest == hash_file(source, "md5-whole")


async def test_a_damaged_chunk_is_noticed(strict_gcs_place: GcsPlace, source: Path, journal: FileJournal) -> None:
    strict_gcs_place.strict.add(Flip(), when=is_a("chunk"), after=1, times=1)
    store = strict_gcs_place.store()
    assert (await put(store, source, journal, exclusive=True))[1] == "checksum"
    await store.aclose()
    assert strict_gcs_place.contents() == {"key": DATA}
    assert strict_gcs_place.uploads() == []


async def test_what_is_always_damaged_is_an_error(strict_gcs_place: GcsPlace, store: GcsStore, source: Path) -> None:
    strict_gcs_place.strict.add(Flip(), when=is_a("chunk"))
    with pytest.raises(StorageUnavailable, match=r"'key'.* damaged in transit.*3 times"):
        await put(store, source, NoJournal())
    assert strict_gcs_place.contents() == {}
    assert strict_gcs_place.uploads() == []


@pytest.mark.parametrize("status", [404, 410])
async def test_an_upload_that_the_server_forgets_starts_again(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal, status: int
) -> None:
    strict_gcs_place.strict.add(Status(status), when=is_a("chunk"), after=2, times=1)
    assert (await put(store, source, journal))[1] == "checksum"
    assert strict_gcs_place.contents() == {"key": DATA}
    assert strict_gcs_place.uploads() == []


async def test_uploads_that_are_always_forgotten_are_an_error(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    strict_gcs_place.strict.add(Status(410), when=is_a("chunk"))
    with pytest.raises(StorageUnavailable, match=r"'key'.* its upload was removed, 3 times"):
        await put(store, source, journal)
    assert journal.get("key") is None


async def test_an_upload_that_is_gone_but_complete_is_not_sent_again(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path
) -> None:
    for exclusive in (False, True):
        strict_gcs_place.strict.clear()
        strict_gcs_place.strict.add(Drop(), when=is_last, times=1)
        strict_gcs_place.strict.add(Status(410), when=is_a("ask"))
        assert (await put(store, source, NoJournal(), exclusive=exclusive))[1] == "checksum"
        assert bytes_sent(strict_gcs_place) == len(DATA)
        await store.remove(["key"])


async def test_a_server_that_takes_no_chunks_is_an_error(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path
) -> None:
    strict_gcs_place.strict.add(Status(400), when=is_a("chunk"))
    with pytest.raises(ObjectRefused, match="400 invalid"):
        await put(store, source, NoJournal())
    assert strict_gcs_place.uploads() == []


@pytest.mark.parametrize("early", [False, True])
async def test_an_exclusive_upload_leaves_what_is_there(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, early: bool
) -> None:
    strict_gcs_place.strict.early = early
    key = strict_gcs_place.address.key("key")
    bucket = strict_gcs_place.strict.buckets[strict_gcs_place.bucket]

    def write(request: Request) -> bool:
        """Stores an object of somebody else in the middle."""
        if kind(request) == ("begin" if early else "chunk") and key not in bucket.objects:
            bucket.objects[key] = other.objects[key]
        return False

    other = type(bucket)("other")
    other.store(key, b"other", {}, Conditions(), Hashes())
    strict_gcs_place.strict.add(Reset(), when=write)
    with pytest.raises(KeyExists):
        await put(store, source, NoJournal(), exclusive=True)
    with pytest.raises(KeyExists):
        await put(store, source, NoJournal(), exclusive=True)
    assert strict_gcs_place.contents() == {"key": b"other"}
    assert strict_gcs_place.uploads() == []


async def test_after_a_lost_answer_the_object_of_another_is_not_ours(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path
) -> None:
    await put(store, source, NoJournal())
    with pytest.raises(KeyExists):
        await put(store, source, NoJournal(), exclusive=True)
    assert strict_gcs_place.contents() == {"key": DATA}


async def test_a_file_that_changes_is_not_stored(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    strict_gcs_place.strict.add(Reset(), when=lambda request: not is_changed(request, source))
    with pytest.raises(FileChanged):
        await put(store, source, journal)
    assert strict_gcs_place.contents() == {}
    assert strict_gcs_place.uploads() == []
    assert journal.get("key") is None


def is_changed(request: Request, source: Path) -> bool:
    """Changes the file at the first chunk."""
    if kind(request) == "chunk" and source.stat().st_size == len(DATA):
        source.write_bytes(DATA + b"more")
    return True


async def test_a_cancelled_upload_leaves_nothing(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    strict_gcs_place.strict.add(Delay(60), when=is_a("chunk"), after=2)
    upload = asyncio.create_task(put(store, source, journal))
    while len(strict_gcs_place.requests("chunk")) < 2:
        await asyncio.sleep(0.02)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2 + 3):
            await upload
    assert strict_gcs_place.uploads() == []
    assert strict_gcs_place.contents() == {}
    assert journal.get("key") is None


async def test_an_upload_can_be_aborted_by_its_address(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path
) -> None:
    assert [page async for page in store.uploads()] == []
    journal = Recorded()
    strict_gcs_place.strict.add(Reset(), when=is_a("chunk"), after=2)
    strict_gcs_place.strict.add(Reset(), when=is_a("cancel", "ask"))
    hasty = strict_gcs_place.store(Limits(no_progress=1, give_up=0.3, backoff=0.02))
    with pytest.raises(StorageUnavailable) as raised:
        await put(hasty, source, journal)
    await hasty.aclose()
    assert "could not be cancelled" in "".join(raised.value.__notes__)
    (session,) = journal.sessions
    assert "upload_id" not in "".join([str(raised.value), *raised.value.__notes__])
    strict_gcs_place.strict.clear()
    assert strict_gcs_place.uploads() == [strict_gcs_place.address.key("key")]
    upload = Upload("key", session, datetime.now(UTC))
    await store.abort([upload, upload])
    assert strict_gcs_place.uploads() == []


class Recorded(NoJournal):
    """A journal that keeps all sessions."""

    def __init__(self) -> None:
        self.sessions: list[str] = []

    def begin(self, object_key: str, upload_id: str) -> None:
        self.sessions.append(upload_id)


async def killed(place: GcsPlace, source: Path, journal: FileJournal, until: Callable[[], bool]) -> None:
    """Sends a file in a process of its own, which is killed at some moment, or ends before."""
    async with uploading(place, "key", source, PART, journal) as child:
        while not until() and child.returncode is None:
            await asyncio.sleep(0.01)
    place.strict.clear()


@pytest.mark.parametrize("answered", [1, PARTS - 1])
async def test_a_killed_upload_is_gone_on_with(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal, answered: int
) -> None:
    strict_gcs_place.strict.add(Delay(60), when=is_a("chunk"), after=answered)
    await killed(strict_gcs_place, source, journal, lambda: len(strict_gcs_place.requests("chunk")) >= answered)
    assert (await put(store, source, journal))[1] == "checksum"
    assert len(strict_gcs_place.requests("chunk")) == PARTS - answered
    assert bytes_sent(strict_gcs_place) == len(DATA) - answered * PART
    assert strict_gcs_place.contents() == {"key": DATA}
    assert journal.get("key") is None


@seeds(4, 200)
async def test_uploads_killed_at_any_moment_send_at_most_one_chunk_again(
    strict_gcs_place: GcsPlace, source: Path, journal: FileJournal, seed: int
) -> None:
    rng = random.Random(seed)
    strict_gcs_place.strict.add(Delay(0.1), when=is_a("chunk"), share=0.5)
    moment = rng.uniform(0, 0.6)
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    def until() -> bool:
        if strict_gcs_place.strict.log and not begun:
            begun.append(loop.time())
        return bool(begun) and loop.time() - begun[0] > moment

    await killed(strict_gcs_place, source, journal, until)
    sessions = strict_gcs_place.strict.sessions.values()
    kept = max((len(one.data) for one in sessions if one.bucket.name == strict_gcs_place.bucket), default=0)
    complete = bool(strict_gcs_place.contents())
    store = strict_gcs_place.store()
    assert (await put(store, source, journal))[1] == "checksum"
    await store.aclose()
    again = bytes_sent(strict_gcs_place) - (len(DATA) - kept)
    assert again <= PART or (not complete and not kept)
    assert strict_gcs_place.contents() == {"key": DATA}
    assert journal.get("key") is None


async def test_a_crash_after_the_end_sends_nothing_again(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    recorded = Recorded()
    digest, _ = await put(store, source, recorded)
    for session in (recorded.sessions[0], recorded.sessions[0] + "-over"):
        journal.begin("key", session)
        strict_gcs_place.strict.clear()
        assert await put(store, source, journal) == (digest, "checksum")
        assert bytes_sent(strict_gcs_place) == 0
        assert journal.get("key") is None


async def test_chunks_of_another_file_are_not_used(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, tmp_path: Path, journal: FileJournal
) -> None:
    other = Recorded()
    (tmp_path / "other").write_bytes(bytes(len(DATA)))
    strict_gcs_place.strict.add(Reset(), when=is_a("chunk"), after=2)
    strict_gcs_place.strict.add(Reset(), when=is_a("cancel", "ask"))
    hasty = strict_gcs_place.store(Limits(no_progress=1, give_up=0.3, backoff=0.02))
    with pytest.raises(StorageUnavailable):
        await put(hasty, tmp_path / "other", other)
    await hasty.aclose()
    strict_gcs_place.strict.clear()
    journal.begin("key", other.sessions[0])
    assert (await put(store, source, journal))[1] == "checksum"
    assert strict_gcs_place.contents() == {"key": DATA}
    assert strict_gcs_place.uploads() == []


async def test_a_complete_upload_of_other_content_is_not_believed(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, tmp_path: Path, journal: FileJournal
) -> None:
    recorded = Recorded()
    (tmp_path / "other").write_bytes(bytes(len(DATA)))
    await put(store, tmp_path / "other", recorded)
    journal.begin("key", recorded.sessions[0])
    assert (await put(store, source, journal))[1] == "checksum"
    assert strict_gcs_place.contents() == {"key": DATA}


async def test_a_session_never_leads_to_another_server(
    strict_gcs_place: GcsPlace, store: GcsStore, source: Path, journal: FileJournal
) -> None:
    recorded = Recorded()
    await put(store, source, recorded)
    assert recorded.sessions[0].startswith("/upload/storage/v1/")


async def test_content_in_memory_is_sent_too(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    data = random.Random(1).randbytes((8 << 20) + 1)
    assert await store.put_bytes(data, "key", hash_bytes(data)) == "checksum"
    assert strict_gcs_place.contents() == {"key": data}

"""Large objects on Azure are sent and checked in blocks, continued after a crash, and never left half done."""

import asyncio
import base64
import hashlib
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from azure_places import AzurePlace
from inhaul._core import PartReader
from inhaul.errors import FileChanged, KeyExists, ObjectRefused, StorageUnavailable
from inhaul.hashing import Digest, hash_bytes
from inhaul.stores.azure.blocks import block_id_of
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.parts import NoJournal
from journals import FileJournal, uploading
from places import QUICK
from proxy import Drop, Fault, Flip, Proxy, Request, Reset, Stall, Status

PART = 1 << 20
PARTS = 5
DATA = random.Random(0).randbytes(PART * (PARTS - 1) + 12345)
KEY = ".inhaul/a/key"  # inhaul alone chooses such names
REAL = "key"


@pytest.fixture
def place(strict_azure_place: AzurePlace) -> AzurePlace:
    return strict_azure_place


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(DATA)
    return tmp_path / "source"


def is_block(request: Request) -> bool:
    return request.method == "PUT" and "comp=block&" in f"{request.query}&"


def commits(request: Request) -> bool:
    return "comp=blocklist" in request.query and request.method == "PUT"


def number_of(request: Request) -> int:
    return int(base64.b64decode(parse_qs(request.query)["blockid"][0]).partition(b"-")[0])


def blocks_sent(proxy: Proxy) -> int:
    return sum(is_block(seen.request) for seen in proxy.log)


async def put(
    store: AzureStore, source: Path, journal: FileJournal | NoJournal, key: str = KEY, **options: bool
) -> tuple[Digest, str]:
    return await store.put_large(key, PartReader(source, PART), journal, **options)


async def test_a_large_object_comes_back_and_is_verified(
    azure_place: AzurePlace, source: Path, journal: FileJournal
) -> None:
    async with aclosing(azure_place.store()) as store:
        digest, verified = await put(store, source, journal)
        assert (digest.size, digest.hash_type) == (len(DATA), f"md5-{PARTS}")
        assert verified == ("checksum" if azure_place.server.strict else "readback")
        assert azure_place.content(KEY) == DATA
        assert journal.get(KEY) is None
        blob = azure_place.server.client(azure_place.bucket).get_blob_client(azure_place.address.key(KEY))
        assert bytes(blob.get_blob_properties().content_settings.content_md5) == hashlib.md5(DATA).digest()


@pytest.mark.parametrize(
    ("when", "fault", "more"),
    [
        (is_block, Flip(), 2),
        (is_block, Status(500), 2),
        (is_block, Reset(), 2),
        (is_block, Stall(), 2),
        (commits, Status(500), 0),
        (commits, Flip(), 0),
        (commits, Drop(), 0),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_passes_is_tried_again(
    azure_place: AzurePlace, source: Path, when: Callable[[Request], bool], fault: Fault, more: int, exclusive: bool
) -> None:
    azure_place.proxy.add(fault, when=when, times=2)
    async with aclosing(azure_place.store(Limits(no_progress=1, give_up=30, backoff=0.02))) as store:
        if (when, fault) == (commits, Flip()) and not azure_place.server.strict:
            with pytest.raises(ObjectRefused, match="400 without a code"):  # Azurite ignores the MD5 of a list
                await put(store, source, NoJournal(), REAL, exclusive=exclusive)
            return
        _, verified = await put(store, source, NoJournal(), REAL, exclusive=exclusive)
    assert verified == ("checksum" if azure_place.server.strict else "readback")
    assert azure_place.content(REAL) == DATA
    assert blocks_sent(azure_place.proxy) == PARTS + more


@pytest.mark.parametrize("exclusive", [False, True])
async def test_blocks_that_somebody_removed_are_sent_again(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal, exclusive: bool
) -> None:
    removed = []

    def remove(request: Request) -> bool:
        assert strict_azure_place.server.strict
        if commits(request) and not removed:
            removed.append(strict_azure_place.server.strict.containers[strict_azure_place.bucket].blocks.popitem())
        return False

    strict_azure_place.proxy.add(Reset(), when=remove)
    await put(store, source, journal, REAL, exclusive=exclusive)
    assert len(removed) == 1
    assert strict_azure_place.content(REAL) == DATA
    assert blocks_sent(strict_azure_place.proxy) == 2 * PARTS
    assert journal.get(REAL) is None


async def test_blocks_that_are_always_removed_are_an_error(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal
) -> None:
    strict_azure_place.proxy.add(Status(400, "InvalidBlockList"), when=commits)
    with pytest.raises(StorageUnavailable, match=r"key'.* its upload was removed, 3 times"):
        await put(store, source, journal)


async def test_blocks_of_another_program_are_an_error_that_says_so(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path
) -> None:
    blob = strict_azure_place.server.client(strict_azure_place.bucket).get_blob_client(
        strict_azure_place.address.key(KEY)
    )
    blob.stage_block("1", b"theirs")
    with pytest.raises(ObjectRefused, match="another program has begun to upload this blob in blocks"):
        await put(store, source, NoJournal())
    assert strict_azure_place.uncommitted(KEY) == [base64.b64encode(b"1").decode()]


async def test_an_exclusive_upload_leaves_what_is_there(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path
) -> None:
    assert (await put(store, source, NoJournal(), REAL, exclusive=True))[1] == "checksum"
    for times in (0, 2):  # even after a lost answer, somebody else's object is not ours
        strict_azure_place.proxy.add(Drop(), when=commits, times=times)
        with pytest.raises(KeyExists):
            await put(store, source, NoJournal(), REAL, exclusive=True)

    def appear(request: Request) -> bool:
        if commits(request):
            strict_azure_place.put("late", b"theirs")
        return False

    strict_azure_place.proxy.add(Reset(), when=appear)
    with pytest.raises(KeyExists):
        await put(store, source, NoJournal(), "late", exclusive=True)
    assert strict_azure_place.content("late") == b"theirs"


@pytest.mark.parametrize("key", [KEY, REAL])
async def test_a_file_that_changes_is_not_stored(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal, key: str
) -> None:
    strict_azure_place.proxy.add(
        Status(500), when=lambda request: is_block(request) and not source.write_bytes(DATA + b"more")
    )
    strict_azure_place.proxy._rules[-1].times = 1
    with pytest.raises(FileChanged):
        await put(store, source, journal, key)
    assert await store.stat(key) is None
    assert strict_azure_place.contents() == {}
    # Under a name that others may use, the blocks stay until Azure removes them.
    assert (strict_azure_place.uncommitted(key) == []) == (key == KEY)
    assert (journal.get(key) is None) == (key == KEY)


async def test_a_cancelled_upload_leaves_no_blocks(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal
) -> None:
    strict_azure_place.proxy.add(Stall(), when=lambda request: is_block(request) and number_of(request) > 2)
    upload = asyncio.create_task(put(store, source, journal))
    while blocks_sent(strict_azure_place.proxy) < PARTS:
        await asyncio.sleep(0.02)
    assert len(strict_azure_place.uncommitted(KEY)) == 2
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2 + 3):
            await upload
    assert strict_azure_place.uncommitted(KEY) == []
    assert strict_azure_place.contents() == {}
    assert journal.get(KEY) is None


async def test_a_storage_that_is_away_leaves_the_upload_to_the_next_call(
    strict_azure_place: AzurePlace, source: Path, journal: FileJournal
) -> None:
    store = strict_azure_place.store(Limits(parts=1, no_progress=1, give_up=0.5, backoff=0.02))
    strict_azure_place.proxy.add(Reset(), when=lambda request: blocks_sent(strict_azure_place.proxy) >= PARTS // 2)
    with pytest.raises(Exception, match="no success") as raised:
        await put(store, source, journal)
    assert "could not be removed" in "".join(raised.value.__notes__)
    strict_azure_place.proxy.clear()
    before = blocks_sent(strict_azure_place.proxy)
    assert (await put(store, source, journal))[1] == "checksum"
    assert blocks_sent(strict_azure_place.proxy) - before < PARTS
    await store.aclose()
    assert strict_azure_place.content(KEY) == DATA


@pytest.mark.parametrize("key", [KEY, REAL])
@pytest.mark.parametrize("answered", [1, PARTS - 1])
async def test_a_killed_upload_is_gone_on_with(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal, answered: int, key: str
) -> None:
    assert strict_azure_place.server.strict
    strict_azure_place.proxy.add(Stall(), when=lambda request: is_block(request) and number_of(request) > answered)
    async with uploading(strict_azure_place, key, source, PART, journal) as child:
        while len(strict_azure_place.uncommitted(key)) < answered:
            await asyncio.sleep(0.05)
            assert child.returncode is None
        while blocks_sent(strict_azure_place.proxy) < PARTS:  # those under way when it dies would count as sent again
            await asyncio.sleep(0.05)
    strict_azure_place.proxy.clear()
    uploads = [one async for page in store.uploads() for one in page]
    assert [(one.key, one.id) for one in uploads] == [(key, journal.get(key))]
    before = len(strict_azure_place.server.strict.log)
    assert (await put(store, source, journal, key))[1] == "checksum"
    sent = [seen.request for seen in strict_azure_place.server.strict.log[before:] if is_block(seen.request)]
    assert sorted(map(number_of, sent)) == list(range(answered + 1, PARTS + 1))
    assert strict_azure_place.content(key) == DATA
    assert strict_azure_place.uncommitted(key) == []
    assert journal.get(key) is None


async def test_if_all_blocks_are_there_the_object_is_read_back(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal
) -> None:
    """Nothing shows then whether the server compared the MD5s."""
    await stage(strict_azure_place, "0123456789abcdef", range(PARTS))
    journal.begin(KEY, "0123456789abcdef")
    assert (await put(store, source, journal))[1] == "readback"
    assert blocks_sent(strict_azure_place.proxy) == 0


async def stage(place: AzurePlace, upload_id: str, numbers: range, data: bytes = DATA, key: str = KEY) -> None:
    blob = place.server.client(place.bucket).get_blob_client(place.address.key(key))
    for number in numbers:
        content = data[number * PART : (number + 1) * PART]
        blob.stage_block(block_id_of(number + 1, upload_id, hashlib.md5(content).digest()), content)


async def test_a_crash_after_the_end_sends_nothing_again(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal
) -> None:
    ids = []
    journal_begin = journal.begin
    journal.begin = lambda key, id: (ids.append(id), journal_begin(key, id))  # type: ignore[assignment, method-assign]
    digest, _ = await put(store, source, journal)
    journal_begin(KEY, ids[0])
    before = blocks_sent(strict_azure_place.proxy)
    assert await put(store, source, journal) == (digest, "readback")
    assert blocks_sent(strict_azure_place.proxy) == before
    assert journal.get(KEY) is None
    # Without the id, the object may be that of somebody else.
    journal_begin(KEY, "another-upload")
    assert await put(store, source, journal) == (digest, "checksum")
    assert blocks_sent(strict_azure_place.proxy) == before + PARTS


async def test_blocks_of_another_file_or_upload_are_not_used(
    strict_azure_place: AzurePlace, store: AzureStore, source: Path, journal: FileJournal
) -> None:
    await stage(strict_azure_place, "0123456789abcdef", range(1))
    await stage(strict_azure_place, "0123456789abcdef", range(1, 2), bytes(len(DATA)))
    await stage(strict_azure_place, "fedcba9876543210", range(2, 3))
    journal.begin(KEY, "0123456789abcdef")
    assert (await put(store, source, journal))[1] == "checksum"
    assert blocks_sent(strict_azure_place.proxy) == PARTS - 1
    assert strict_azure_place.content(KEY) == DATA
    assert strict_azure_place.uncommitted(KEY) == []


# --- uploads that nobody continues


async def test_only_blocks_that_are_provably_ours_are_removed(
    strict_azure_place: AzurePlace, store: AzureStore
) -> None:
    ours, other = "0123456789abcdef", "fedcba9876543210"
    keys = {
        ".inhaul/a/ours": ours,
        ".inhaul/a/mixed": "",
        ".inhaul/a/theirs": "",
        ".inhaul/a/empty": None,
        "real": ours,
    }
    for key in (".inhaul/a/ours", ".inhaul/a/mixed", "real"):
        await stage(strict_azure_place, ours, range(2), key=key)
    await stage(strict_azure_place, other, range(1), key=".inhaul/a/mixed")
    client = strict_azure_place.server.client(strict_azure_place.bucket)
    client.get_blob_client(strict_azure_place.address.key(".inhaul/a/theirs")).stage_block("\u00ff", b"x")
    client.get_blob_client(strict_azure_place.address.key(".inhaul/a/empty")).commit_block_list([])
    uploads = [one async for page in store.uploads() for one in page]
    found = {one.key: one.id for one in uploads}
    assert found == {key: upload_id for key, upload_id in keys.items() if upload_id is not None}
    await store.abort(uploads)
    await store.abort(uploads)
    left = [one.key async for page in store.uploads() for one in page]
    assert left == [".inhaul/a/mixed", ".inhaul/a/theirs", "real"]
    assert strict_azure_place.contents() == {".inhaul/a/empty": b""}


async def test_an_object_that_appears_meanwhile_is_not_removed(
    strict_azure_place: AzurePlace, store: AzureStore
) -> None:
    await stage(strict_azure_place, "0123456789abcdef", range(2))
    uploads = [one async for page in store.uploads() for one in page]

    def appear(request: Request) -> bool:
        if commits(request):
            strict_azure_place.put(KEY, b"theirs")
        return False

    strict_azure_place.proxy.add(Reset(), when=appear)
    await store.abort(uploads)
    assert strict_azure_place.contents() == {KEY: b"theirs"}


async def test_memory_is_sent_in_blocks_too(azure_place: AzurePlace) -> None:
    async with aclosing(azure_place.store(QUICK)) as store:
        data = bytes(9 << 20)
        await store.put_bytes(data, KEY, hash_bytes(data))
        stat = await store.stat(KEY)
        assert stat is not None
        assert stat.digest == hash_bytes(data)

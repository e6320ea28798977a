"""The servers of Google Cloud Storage for tests agree where the documents do, and differ where they say so."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager

import aiohttp
import pytest

from gcs_client import BIG, NAMES, Client, batch, crc32c, md5
from gcs_objects import QUANTUM
from gcs_servers import GcsServer, emulator, fake_gcs, strict


@pytest.fixture(scope="module", params=[strict, fake_gcs], ids=["strict", "fake"])
def either(request: pytest.FixtureRequest) -> Iterator[GcsServer]:
    with request.param() as server:
        yield server


@pytest.fixture
async def on_either(either: GcsServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, either.endpoint_url, either.bucket())


class TestBesideAnother:
    """Where the documents, fake-gcs-server and the strict server agree."""

    @pytest.mark.parametrize("data", [b"", b"\r\n--", BIG], ids=len)
    async def test_uploads_of_all_kinds_come_back(self, either: GcsServer, on_either: Client, data: bytes) -> None:
        size = len(data)
        assert (await on_either.put("media", data)).status == 200
        resource = {"name": "both", "md5Hash": md5(data), "crc32c": crc32c(data), "metadata": {"by": "us"}}
        assert (await on_either.put_both(resource, data, "&ifGenerationMatch=0")).status == 200
        session = await on_either.begin("session")
        rest = (
            f"{2 * QUANTUM}-{size - 1}/{size}" if data is BIG else f"*/{size}" if not data else f"0-{size - 1}/{size}"
        )
        if data is BIG:
            answer = await on_either.chunk(session, data[: 2 * QUANTUM], f"0-{2 * QUANTUM - 1}/{size}")
            assert (answer.status, answer.headers["Range"]) == (308, f"bytes=0-{2 * QUANTUM - 1}")
        answer = await on_either.chunk(session, data[2 * QUANTUM :] if data is BIG else data, rest)
        assert answer.status == 200
        for name in ("media", "both", "session"):
            found = (await on_either.get(name)).json
            assert (found["name"], found["size"], found["crc32c"]) == (name, str(size), crc32c(data))
            assert found["md5Hash"] == md5(data)
            assert int(found["generation"]) > 0 and found["metageneration"] == "1"
            read = await on_either.get(name, "alt=media")
            assert (read.status, read.body) == (200, data)
            assert f"crc32c={crc32c(data)}" in read.headers["X-Goog-Hash"]
        assert either.contents(on_either.bucket) == dict.fromkeys(("media", "both", "session"), data)
        assert either.resources(on_either.bucket)["both"]["metadata"] == {"by": "us"}

    async def test_ranges(self, on_either: Client) -> None:
        await on_either.put("a/b", b"0123456789")
        for asked, range_, body in [
            ("2-4", "2-4", b"234"),
            ("7-", "7-9", b"789"),
            ("-2", "8-9", b"89"),
            ("0-99", "0-9", b"0123456789"),
        ]:
            for path in (f"{on_either.objects}/a%2Fb?alt=media", f"/{on_either.bucket}/a/b"):
                read = await on_either("GET", path, headers={"Range": f"bytes={asked}"})
                assert (read.status, read.body, read.headers["Content-Range"]) == (206, body, f"bytes {range_}/10")
        assert (await on_either.get("a/b", "alt=media", Range="bytes=10-")).status == 416

    async def test_lists(self, on_either: Client) -> None:
        for name in reversed(NAMES):
            assert (await on_either.put(name, name.encode())).status == 200
            assert (await on_either.get(name, "alt=media")).body == name.encode()
        assert await on_either.names() == (sorted(NAMES), [])
        assert await on_either.names("prefix=a%2F") == (["a/1", "a/2"], [])
        found, prefixes = await on_either.names("delimiter=%2F")
        assert (found, prefixes) == (["b", "c d+e%41?#", "z'\"&<>", "~" * 1024], ["a/", "dir/", "é/"])
        assert (await on_either.names("startOffset=b&prefix="))[0] == sorted(NAMES)[2:]

    async def test_pages(self, on_either: Client) -> None:
        names = [f"{number:02}" for number in range(9)]
        for name in names:
            await on_either.put(name)
        page = (await on_either.page("maxResults=4")).json
        assert [one["name"] for one in page["items"]] == names[:4]
        assert page["nextPageToken"]
        assert await on_either.names("maxResults=4") == (names, [])

    async def test_what_is_not_there(self, on_either: Client) -> None:
        for method, path in [
            ("GET", f"{on_either.objects}/none"),
            ("GET", f"{on_either.objects}/none?alt=media"),
            ("DELETE", f"{on_either.objects}/none"),
            ("GET", f"/{on_either.bucket}/none"),
            ("GET", "/storage/v1/b/no-such-bucket/o"),
            ("PUT", f"/upload{on_either.objects}?uploadType=resumable&upload_id=none"),
        ]:
            assert (await on_either(method, path)).status == 404, path

    async def test_a_taken_name_and_a_cancelled_session(self, on_either: Client) -> None:
        await on_either.put("taken", b"old")
        assert (await on_either.put_both({"name": "taken"}, b"new", "&ifGenerationMatch=0")).status == 412
        assert (await on_either.get("taken", "alt=media")).body == b"old"
        session = await on_either.begin("session")
        assert (await on_either.chunk(session, BIG[:QUANTUM], f"0-{QUANTUM - 1}/*")).status == 308
        assert (await on_either("DELETE", session)).status == 499
        assert await on_either.names() == (["taken"], [])

    async def test_a_batch_ends_in_part(self, on_either: Client) -> None:
        await on_either.put("a/b")
        await on_either.put("c")
        answer = await on_either("POST", "/batch/storage/v1", **batch(on_either, ["a/b", "none"]))
        assert answer.status == 200
        statuses = [line.split()[1] for line in answer.body.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert statuses[0] in (b"200", b"204") and statuses[1] == b"404"
        assert await on_either.names() == (["c"], [])


@pytest.mark.parametrize("start", [strict, fake_gcs, emulator])
async def test_what_a_server_lets_pass(start: Callable[[], AbstractContextManager[GcsServer]]) -> None:
    """The attributes of the servers are true: only the strict one has them all."""
    with start() as server:
        async with aiohttp.ClientSession() as session:
            client = Client(session, server.endpoint_url, server.bucket())
            wrong = await client.put_both({"name": "a", "md5Hash": md5(b"b")}, b"a")
            await client.put("a")
            await client.put("b")
            taken = await client.put("a", b"new", "&ifGenerationMatch=0")
            other = await client.get("a", "ifGenerationMatch=5")
            page = await client.page("maxResults=1")
            upload = await client.begin("half")
            first = f"0-{QUANTUM - 1}/{len(BIG)}"
            chunks = [(BIG[:QUANTUM], first), (b"", f"*/{len(BIG)}"), (BIG[:QUANTUM], first)]
            states = [await client.chunk(upload, *one) for one in chunks]
            deleted = await client("POST", "/batch/storage/v1", **batch(client, ["b"]))
    assert server.hashes == (wrong.status == 400)
    assert server.conditions == (taken.status == other.status == 412)
    assert server.pages == ("nextPageToken" in page.json)
    assert server.sessions == all(
        (one.status, one.headers.get("Range")) == (308, f"bytes={first[:8]}") for one in states
    )
    assert server.batches == (b"\r\n\r\nHTTP/1.1 20" in deleted.body)

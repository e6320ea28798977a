"""The strict server of Google Cloud Storage, by plain HTTP and by the clients of others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import gcsfs
import obstore
import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from obstore.store import GCSStore
from yarl import URL

from gcs_client import BIG, NAMES, Client, batch, crc32c, md5, related
from gcs_objects import QUANTUM
from proxy import Cut, Drop, Flip, FlipReply, Request, Reset, Status
from strict_gcs import Break, StrictGcs, strict_gcs


def is_chunk(request: Request) -> bool:
    return "upload_id=" in request.query


def is_read(request: Request) -> bool:
    return request.method == "GET"


@pytest.fixture(scope="module")
def running_server() -> Iterator[StrictGcs]:
    with strict_gcs() as server:
        yield server


@pytest.fixture
def server(running_server: StrictGcs) -> Iterator[StrictGcs]:
    yield running_server
    running_server.clear()
    running_server.page, running_server.early, running_server.tokens = 1000, False, None


@pytest.fixture
async def client(server: StrictGcs) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, server.endpoint_url, server.bucket())


class TestUploads:
    @pytest.mark.parametrize("line", ["\r\n", "\n"], ids=["crlf", "lf"])
    @pytest.mark.parametrize("data", [b"", b"x\r", b"\n\n", b"\r\n--other\r\n", b"--"], ids=repr)
    async def test_parts_with_any_boundary(self, server: StrictGcs, client: Client, line: str, data: bytes) -> None:
        for boundary in ("=", "==0==", "a b'()+_,-./:=?c", "x" * 70):
            answer = await client.put_both({"name": "a"}, data, boundary=boundary, line=line)
            assert answer.status == 200, answer
            assert server.buckets[client.bucket].objects["a"].data == data

    async def test_a_body_of_other_parts_is_refused(self, client: Client) -> None:
        good = related({"name": "a"}, b"data", "x")
        for body in (
            b"",
            b"data",
            good.replace(b"--x--", b"--x"),
            good.replace(b"--x--", b"--y--"),
            good.replace(b"application/json", b"text/plain"),
            good.replace(b"Content-Type: text/plain", b"X-Other: 1"),
            related({"name": "a"}, b"data\r\n--x\r\nmore", "x"),
            related({"name": "a"}, b"data\r\n--x--\r\nmore", "x").replace(b'{"name"', b'{"name'),
            related({"name": "a", "md5hash": md5(b"data")}, b"data", "x"),
            related({"name": "a", "metadata": {"number": 1}}, b"data", "x"),
            related({"name": "a", "metadata": {"large": "x" * 8192}}, b"data", "x"),
            related({}, b"data", "x"),
        ):
            assert (await client.put_raw(body)).status == 400, body
        assert (await client.put_raw(good, "&name=b")).status == 400
        assert (await client.put_raw(good, boundary="")).status == 400
        assert await client.names() == ([], [])

    @pytest.mark.parametrize("kind", ["md5Hash", "crc32c"])
    async def test_a_wrong_hash_is_refused(self, server: StrictGcs, client: Client, kind: str) -> None:
        right, wrong = ({"md5Hash": md5, "crc32c": crc32c}[kind](one) for one in (BIG, b"other"))
        header = kind.removesuffix("Hash")
        for stated in (wrong, "", "?", wrong[:-4], 5):
            answer = await client.put_both({"name": "a", kind: stated}, BIG)
            assert (answer.status, answer.json["error"]["code"]) == (400, 400)
            assert answer.json["error"]["errors"][0].keys() == {"domain", "reason", "message"}
        assert (await client.put("a", BIG, x_goog_hash=f"{header}={wrong}")).status == 400
        assert (await client.put_both({"name": "a", kind: right}, BIG)).status == 200
        assert (await client.put("b", BIG, x_goog_hash=f"{header}={right}")).status == 200
        for resource, headers in (({kind: wrong}, {}), ({}, {"x-goog-hash": f"{header}={wrong}"})):
            upload = await client.begin("session", resource)
            for _ in range(2):
                assert (await client.chunk(upload, BIG, f"0-{len(BIG) - 1}/{len(BIG)}", **headers)).status == 400
        upload = await client.begin("session")
        assert (
            await client.chunk(upload, BIG, f"0-{len(BIG) - 1}/{len(BIG)}", **{"x-goog-hash": f"{header}={right}"})
        ).status == 200
        assert sorted(server.buckets[client.bucket].objects) == ["a", "b", "session"]

    @pytest.mark.parametrize(
        "name",
        ["", "x" * 1025, "é" * 513, "a\nb", "a\rb", ".", "..", ".well-known/acme-challenge/x"],
        ids=lambda name: ascii(name[:8]),
    )
    async def test_a_name_that_no_object_can_have(self, client: Client, name: str) -> None:
        assert (await client.put(name)).status == 400
        assert (await client.put_both({"name": name}, b"")).status == 400
        assert (
            await client("POST", f"/upload{client.objects}?uploadType=resumable", json={"name": name})
        ).status == 400

    async def test_what_is_unknown_is_refused(self, client: Client) -> None:
        for name in ("%FF", "%ED%A0%80"):
            assert (
                await client("GET", URL(f"{client.endpoint_url}{client.objects}/{name}", encoded=True))
            ).status == 400
            url = URL(f"{client.endpoint_url}/upload{client.objects}?uploadType=media&name={name}", encoded=True)
            assert (await client("POST", url)).status == 400, "a name must be UTF-8"
        assert (await client.put("a", query="&ifgenerationmatch=0")).status == 400
        assert (await client.put("a", query="&ifGenerationMatch=x")).status == 400
        assert (await client("POST", f"/upload{client.objects}?uploadType=other&name=a")).status == 400
        assert (await client("POST", f"/upload{client.objects}?name=a")).status == 400
        assert (await client("GET", f"{client.objects}/a/b")).status == 404, "a slash in a name must be encoded"


class TestSessions:
    async def test_chunks_and_status(self, server: StrictGcs, client: Client) -> None:
        size = len(BIG)
        upload = await client.begin("a", {"metadata": {"by": "us"}}, X_Upload_Content_Length=str(size))
        fresh = await client.chunk(upload, b"", f"*/{size}")
        assert (fresh.status, "Range" in fresh.headers, fresh.body) == (308, False, b"")
        first = await client.chunk(upload, BIG[:QUANTUM], f"0-{QUANTUM - 1}/{size}")
        assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
        assert (await client.chunk(upload, b"", "*/*")).headers["Range"] == f"bytes=0-{QUANTUM - 1}"
        overlapping = await client.chunk(upload, b"?" * QUANTUM + BIG[QUANTUM : 2 * QUANTUM], f"0-{2 * QUANTUM - 1}/*")
        assert overlapping.headers["Range"] == f"bytes=0-{2 * QUANTUM - 1}"
        assert not server.buckets[client.bucket].objects
        last = await client.chunk(upload, BIG[2 * QUANTUM :], f"{2 * QUANTUM}-{size - 1}/{size}")
        assert (last.status, last.json["md5Hash"], last.json["metadata"]) == (200, md5(BIG), {"by": "us"})
        assert (await client.chunk(upload, b"", f"*/{size}")).json == last.json
        assert server.buckets[client.bucket].objects["a"].data == BIG

    async def test_a_size_that_is_known_late_or_never(self, server: StrictGcs, client: Client) -> None:
        for number, requests in enumerate(
            [
                [(BIG[: 2 * QUANTUM], f"0-{2 * QUANTUM - 1}/*"), (b"", f"*/{2 * QUANTUM}")],
                [(BIG[: 2 * QUANTUM], "0-*/*")],
                [(BIG[: 2 * QUANTUM], f"0-*/{2 * QUANTUM}")],
            ]
        ):
            upload = await client.begin(str(number))
            statuses = [(await client.chunk(upload, *request)).status for request in requests]
            assert statuses == [308] * (len(requests) - 1) + [200]
            assert server.buckets[client.bucket].objects[str(number)].data == BIG[: 2 * QUANTUM]
        upload = await client.begin("at once")
        assert (await client("PUT", upload, data=BIG)).status == 200

    @pytest.mark.parametrize(
        ("size", "range_", "status"),
        [
            (100, "0-99/*", 400),
            (QUANTUM + 1, f"0-{QUANTUM}/{3 * QUANTUM}", 400),
            (QUANTUM, f"{QUANTUM}-{2 * QUANTUM - 1}/*", 503),
            (QUANTUM, f"0-{QUANTUM - 2}/*", 400),
            (QUANTUM, f"0-{QUANTUM - 1}/{QUANTUM - 1}", 400),
            (QUANTUM, f"0-{QUANTUM - 1}/5", 400),
            (QUANTUM, f"0-{QUANTUM}", 400),
            (QUANTUM, "*/*", 400),
        ],
    )
    async def test_a_chunk_that_does_not_fit(self, client: Client, size: int, range_: str, status: int) -> None:
        upload = await client.begin("a")
        assert (await client.chunk(upload, b"x" * size, range_)).status == status
        assert (await client.chunk(upload, b"", "*/*")).headers.get("Range") is None

    async def test_a_size_that_changes(self, client: Client) -> None:
        upload = await client.begin("a", X_Upload_Content_Length="5")
        assert (await client.chunk(upload, b"123456", "0-5/6")).status == 400
        assert (await client.chunk(upload, b"12345", "0-4/5")).status == 200

    async def test_preconditions_are_checked_at_the_end(self, server: StrictGcs, client: Client) -> None:
        upload = await client.begin("a", query="&ifGenerationMatch=0")
        await client.put("a", b"other")
        for _ in range(2):
            assert (await client.chunk(upload, b"12345", "0-4/5")).status == 412
        assert server.buckets[client.bucket].objects["a"].data == b"other"
        server.early = True
        path = f"/upload{client.objects}?uploadType=resumable&name=a&ifGenerationMatch=0"
        assert (await client("POST", path)).status == 412

    async def test_sessions_that_are_over(self, server: StrictGcs, client: Client) -> None:
        upload = await client.begin("cancelled")
        assert (await client("DELETE", upload)).status == 499
        assert (await client.chunk(upload, b"", "*/*")).status == 499
        for status in (404, 410):
            upload = await client.begin("forgotten")
            await client.chunk(upload, BIG[:QUANTUM], f"0-{QUANTUM - 1}/*")
            server.forget(status)
            assert (await client.chunk(upload, b"", "*/*")).status == status
            assert (await client("DELETE", upload)).status == status
        assert (await client.chunk(upload.replace("upload_id=", "upload_id=x"), b"", "*/*")).status == 404

    async def test_what_arrived_of_a_broken_chunk_is_kept(self, server: StrictGcs, client: Client) -> None:
        upload = await client.begin("a")
        server.add(Break(QUANTUM + 5), when=is_chunk, times=2)  # aiohttp repeats a PUT once by itself
        with pytest.raises(aiohttp.ClientError):
            await client.chunk(upload, BIG, f"0-{len(BIG) - 1}/{len(BIG)}")
        kept = await client.chunk(upload, b"", f"*/{len(BIG)}")
        assert (kept.status, kept.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
        last = await client.chunk(upload, BIG[QUANTUM:], f"{QUANTUM}-{len(BIG) - 1}/{len(BIG)}")
        assert (last.status, last.json["md5Hash"]) == (200, md5(BIG))

    async def test_a_client_that_leaves_in_a_chunk(self, server: StrictGcs, client: Client) -> None:
        upload = await client.begin("a")

        async def half() -> AsyncIterator[bytes]:
            yield BIG[: QUANTUM + 5]
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                headers = {"Content-Range": f"bytes 0-{len(BIG) - 1}/{len(BIG)}", "Content-Length": str(len(BIG))}
                await client("PUT", upload, data=half(), headers=headers)
        async with asyncio.timeout(10):
            while not any(call.status is None for call in server.log):
                await asyncio.sleep(0.01)
        assert (await client.chunk(upload, b"", "*/*")).headers["Range"] == f"bytes=0-{QUANTUM - 1}"


class TestPreconditions:
    async def test_all_verbs(self, server: StrictGcs, client: Client) -> None:
        generation = (await client.put("a")).json["generation"]
        await client.put("b")
        here = f"{client.objects}/a"
        for query, status in [
            ("ifGenerationMatch=0", 412),
            ("ifGenerationMatch=5", 412),
            (f"ifGenerationNotMatch={generation}", 304),
            ("ifMetagenerationMatch=2", 412),
            ("ifMetagenerationNotMatch=1", 304),
            (f"ifGenerationMatch={generation}&ifMetagenerationMatch=2", 412),
        ]:
            source = query.replace("if", "ifSource")
            compose = {"sourceObjects": [{"name": "b"}]}
            for method, path, body in [
                ("GET", f"{here}?{query}", None),
                ("GET", f"{here}?alt=media&{query}", None),
                ("PATCH", f"{here}?{query}", {}),
                ("DELETE", f"{here}?{query}", None),
                ("POST", f"/upload{client.objects}?uploadType=media&name=a&{query}", {}),
                ("POST", f"{here}/compose?{query}", compose),
                ("POST", f"{client.objects}/b/rewriteTo/b/{client.bucket}/o/a?{query}", {}),
                ("POST", f"{client.objects}/b/copyTo/b/{client.bucket}/o/a?{query}", {}),
                ("POST", f"{here}/rewriteTo/b/{client.bucket}/o/c?{source}", {}),
            ]:
                answer = await client(method, path, json=body)
                assert answer.status == status, (method, path, answer)
                assert status == 304 or answer.json["error"]["errors"][0]["reason"] == "conditionNotMet"
        assert server.buckets[client.bucket].objects["a"].generation == int(generation)
        held = f"ifGenerationMatch={generation}&ifMetagenerationMatch=1&ifGenerationNotMatch=0"
        assert (await client.get("a", held)).status == 200
        assert (await client("DELETE", f"{here}?{held}")).status == 204
        for query in ("ifGenerationMatch=5", "ifMetagenerationMatch=1"):
            assert (await client.put("a", query=f"&{query}")).status == 412
            assert (await client.get("a", query)).status == 404
        assert (await client.put("a", query="&ifGenerationNotMatch=0")).status == 304
        assert (await client.put("a", query="&ifGenerationMatch=0")).status == 200

    async def test_generations(self, client: Client) -> None:
        first, second = [int((await client.put("a", data)).json["generation"]) for data in (b"1", b"2")]
        assert first < second
        assert (await client.get("a", f"generation={first}")).status == 404
        assert (await client.get("a", f"generation={second}&alt=media")).body == b"2"
        changed = (await client("PATCH", f"{client.objects}/a", json={"metadata": {"k": "v", "l": "w"}})).json
        assert (changed["generation"], changed["metageneration"]) == (str(second), "2")
        changed = (await client("PATCH", f"{client.objects}/a", json={"metadata": {"k": None}})).json
        assert (changed["metadata"], changed["metageneration"]) == ({"l": "w"}, "3")

    async def test_one_of_many_writers_gets_a_name(self, server: StrictGcs, client: Client) -> None:
        puts = [client.put("a", str(number).encode(), "&ifGenerationMatch=0") for number in range(20)]
        assert sorted(one.status for one in await asyncio.gather(*puts)) == [200] + [412] * 19


class TestComposites:
    async def test_a_composite_has_no_md5(self, server: StrictGcs, client: Client) -> None:
        for name in ("1", "2"):
            await client.put(name, name.encode())
        given = [{"name": "1"}, {"name": "2"}, {"name": "1"}]
        body = {"sourceObjects": given, "destination": {"contentType": "text/plain", "crc32c": crc32c(b"121")}}
        made = (await client("POST", f"{client.objects}/c/compose?ifGenerationMatch=0", json=body)).json
        assert (made["componentCount"], made["crc32c"], made["contentType"]) == (3, crc32c(b"121"), "text/plain")
        assert "md5Hash" not in made
        assert (await client.get("c", "alt=media")).headers["x-goog-hash"] == f"crc32c={crc32c(b'121')}"
        body = {"sourceObjects": [{"name": "c"}, {"name": "2", "generation": "5"}]}
        assert (await client("POST", f"{client.objects}/d/compose", json=body)).status == 404
        body["sourceObjects"][1] = {"name": "2", "objectPreconditions": {"ifGenerationMatch": "5"}}
        assert (await client("POST", f"{client.objects}/d/compose", json=body)).status == 412
        body["sourceObjects"][1] = {"name": "2"}
        assert (await client("POST", f"{client.objects}/d/compose", json=body)).json["componentCount"] == 4
        for count in (0, 33):
            body = {"sourceObjects": [{"name": "1"}] * count}
            assert (await client("POST", f"{client.objects}/e/compose", json=body)).status == 400
        copied = await client("POST", f"{client.objects}/d/rewriteTo/b/{client.bucket}/o/e", json={})
        assert (copied.json["done"], copied.json["objectSize"]) == (True, "4")
        assert copied.json["resource"]["componentCount"] == 4


class TestLists:
    async def test_pages_of_names_and_prefixes(self, server: StrictGcs, client: Client) -> None:
        names = ["a", "a/1", "a/2", "b/1", "b/2/3", "c", "d/", "d/1"]
        for name in names:
            await client.put(name)
        for size in (1, 2, 3, 1000):
            assert await client.names(f"maxResults={size}") == (names, [])
            assert await client.names(f"delimiter=%2F&maxResults={size}") == (["a", "c"], ["a/", "b/", "d/"])
            assert await client.names(f"delimiter=%2F&prefix=d%2F&maxResults={size}") == (["d/", "d/1"], [])
            assert await client.names(f"startOffset=b&endOffset=d%2F&maxResults={size}") == (["b/1", "b/2/3", "c"], [])
        server.page = 2
        assert len((await client.page("maxResults=5")).json["items"]) == 2
        assert await client.names() == (names, [])
        assert (await client.page("pageToken=none")).status == 400
        assert (await client.page("maxResults=-1")).status == 400

    async def test_selected_fields(self, client: Client) -> None:
        await client.put_both({"name": "a", "metadata": {"id": "7", "other": "8"}}, b"1")
        await client.put("b")
        listed = await client.page("fields=items(name,size,metadata/id),nextPageToken&maxResults=1")
        assert listed.json["items"] == [{"name": "a", "size": "1", "metadata": {"id": "7"}}]
        assert listed.json.keys() == {"items", "nextPageToken"}
        assert (await client.page("fields=items/name")).json == {"items": [{"name": "a"}, {"name": "b"}]}
        assert (await client.get("a", "fields=*")).json["kind"] == "storage#object"
        assert (await client.put("c", query="&fields=name,generation")).json.keys() == {"name", "generation"}
        session = await client.begin("d", query="&fields=md5Hash")
        assert (await client.chunk(session, b"1", "0-0/1")).json == {"md5Hash": md5(b"1")}
        for wrong in ("nmae", "items(name", "items(name))", "items/", "name,", ""):
            assert (await client.page(f"fields={wrong}")).status == 400, wrong


class TestOtherRequests:
    async def test_a_batch(self, server: StrictGcs, client: Client) -> None:
        for name in ("a", "b"):
            await client.put(name)
        server.add(Status(503), when=lambda request: request.method == "DELETE", times=1)
        answer = await client("POST", "/batch/storage/v1", **batch(client, ["a", "none", "b"]))
        statuses = [line.split()[1] for line in answer.body.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert statuses == [b"503", b"404", b"204"]
        assert answer.body.count(b"Content-ID: <response-") == 3
        assert (await client("POST", "/batch/storage/v1", **batch(client, ["a"] * 101))).status == 400

    async def test_tokens(self, server: StrictGcs, client: Client) -> None:
        upload = await client.begin("a")
        server.tokens = {"right"}
        for path in (f"{client.objects}/a", f"/{client.bucket}/a"):
            assert (await client("GET", path)).status == 401
            assert (await client("GET", path, headers={"Authorization": "Bearer wrong"})).status == 401
            assert (await client("GET", path, headers={"Authorization": "right"})).status == 401
            assert (await client("GET", path, headers={"Authorization": "Bearer right"})).status == 404
        assert (await client.get("a")).json["error"]["errors"][0]["location"] == "Authorization"
        assert (await client.chunk(upload, b"", "*/*")).status == 308, "the address of a session lets in by itself"
        calls = batch(client, ["a"])
        assert (await client("POST", "/batch/storage/v1", **calls)).status == 401
        calls["headers"]["Authorization"] = "Bearer right"
        assert b"HTTP/1.1 404" in (await client("POST", "/batch/storage/v1", **calls)).body

    async def test_buckets(self, client: Client) -> None:
        assert (await client("GET", f"/storage/v1/b/{client.bucket}")).json["name"] == client.bucket
        assert (await client("GET", "/storage/v1/b/none")).status == 404
        assert (await client("POST", "/storage/v1/b?project=p", json={"name": "new-one"})).status == 200
        assert (await client("POST", "/storage/v1/b?project=p", json={"name": "new-one"})).status == 409
        assert (await client("POST", "/storage/v1/b?project=p", json={"name": "A"})).status == 400


class TestFaults:
    async def test_the_nth_body_is_damaged(self, server: StrictGcs, client: Client) -> None:
        server.add(Flip(), when=lambda request: request.method == "POST", after=1, times=1)
        data = b"x" * 100
        answers = [await client.put_both({"name": str(number)}, data) for number in range(3)]
        found = [server.buckets[client.bucket].objects[str(number)].data for number in range(3)]
        assert [one == data for one in found] == [True, False, True]
        assert [one.json["md5Hash"] == md5(data) for one in answers] == [True, False, True]
        server.add(Flip())
        assert (await client.put_both({"name": "a", "md5Hash": md5(data)}, data)).status == 400
        upload = await client.begin("b", {"crc32c": crc32c(data)})
        assert (await client.chunk(upload, data, "0-99/100")).status == 400

    async def test_replies_are_damaged_or_lost(self, server: StrictGcs, client: Client) -> None:
        await client.put("a", BIG)
        server.add(FlipReply(), when=is_read, times=1)
        damaged = await client.get("a", "alt=media")
        assert len(damaged.body) == len(BIG) and damaged.body != BIG
        server.add(Cut(1000, clean=True), when=is_read, times=1)
        assert (await client.get("a", "alt=media")).body == BIG[:1000]
        server.add(Cut(1000), when=is_read, times=1)
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.get("a", "alt=media")
        for fault in (Reset(), Drop(), Break(2)):
            server.add(fault, when=lambda request: request.method == "POST", times=1)
            with pytest.raises(aiohttp.ClientError):
                await client.put(type(fault).__name__)
        assert await client.names() == (["Drop", "a"], [])
        for status in (429, 503, 500, 403):
            server.add(Status(status), times=1)
            answer = await client.put("b")
            assert (answer.status, answer.json["error"]["code"]) == (status, status)

    async def test_requests_and_bytes_are_counted(self, server: StrictGcs, client: Client) -> None:
        await client.put("a", BIG)
        await client.get("a", "alt=media")
        calls = [(call.request.method, call.received, call.status) for call in server.log]
        assert calls == [("POST", len(BIG), 200), ("GET", 0, 200)]
        assert server.log[1].sent == len(BIG)


class TestOtherClients:
    async def test_gcsfs(self, server: StrictGcs, client: Client) -> None:

        access = {"token": "anon"}

        def use() -> None:
            files = gcsfs.GCSFileSystem(
                project="p", endpoint_url=server.endpoint_url, skip_instance_cache=True, **access
            )
            for name in ("a b/c+%41", "é"):
                files.pipe(f"{client.bucket}/{name}", name.encode())
                assert files.cat(f"{client.bucket}/{name}") == name.encode()
            with files.open(f"{client.bucket}/big", "wb", block_size=QUANTUM, consistency="md5") as file:
                file.write(BIG)
            assert files.cat_file(f"{client.bucket}/big", 5, 10) == BIG[5:10]
            assert sorted(files.find(client.bucket)) == [
                f"{client.bucket}/{name}" for name in ("a b/c+%41", "big", "é")
            ]
            files.copy(f"{client.bucket}/big", f"{client.bucket}/copy")
            files.rm([f"{client.bucket}/big", f"{client.bucket}/é"])
            assert files.ls(client.bucket) == [f"{client.bucket}/a b", f"{client.bucket}/copy"]

        await asyncio.to_thread(use)
        assert server.buckets[client.bucket].objects["copy"].data == BIG

    async def test_the_client_of_google(self, server: StrictGcs, client: Client) -> None:
        def use() -> None:
            with storage.Client(
                "p", AnonymousCredentials(), client_options={"api_endpoint": server.endpoint_url}
            ) as google:
                bucket = google.bucket(client.bucket)
                blob = bucket.blob("a b/ü", chunk_size=QUANTUM)
                blob.metadata = {"by": "us"}
                blob.upload_from_string(BIG, if_generation_match=0, checksum="crc32c")
                with pytest.raises(PreconditionFailed):
                    bucket.blob("a b/ü").upload_from_string(b"new", if_generation_match=0, checksum="md5")
                assert bucket.blob("a b/ü").download_as_bytes(checksum="md5") == BIG
                assert bucket.blob("a b/ü").download_as_bytes(start=5, end=9) == BIG[5:10]
                found = bucket.get_blob("a b/ü")
                assert (found.md5_hash, found.crc32c, found.metadata) == (md5(BIG), crc32c(BIG), {"by": "us"})
                bucket.blob("both").compose([found, found])
                bucket.blob("copy").rewrite(found)
                assert [one.name for one in google.list_blobs(client.bucket, page_size=1)] == ["a b/ü", "both", "copy"]
                with pytest.raises(PreconditionFailed):
                    found.delete(if_generation_match=5)
                with google.batch(raise_exception=False) as several:
                    for name in ("both", "none"):
                        bucket.blob(name).delete()
                assert [one.status_code for one in several._responses] == [204, 404]
                with pytest.raises(NotFound):
                    bucket.blob("both").reload()

        await asyncio.to_thread(use)
        assert sorted(server.buckets[client.bucket].objects) == ["a b/ü", "copy"]

    async def test_obstore_reads_and_lists(self, server: StrictGcs, client: Client) -> None:
        server.page = 3
        names = [name for name in NAMES if not name.endswith("/")]  # obstore has no such paths
        for name in names:
            await client.put(name, name.encode() * 3)
        server.tokens = {"right"}
        options: Any = {"base_url": server.endpoint_url, "bearer_token": "right"}
        store = GCSStore(client.bucket, config=options, client_options={"allow_http": True})
        listed = [one async for page in obstore.list(store) for one in page]
        assert sorted(one["path"] for one in listed) == sorted(names)
        for one in listed:
            name = one["path"]
            reply = await obstore.get_async(store, name)
            assert bytes(await reply.bytes_async()) == name.encode() * 3
            assert reply.meta["e_tag"] == one["e_tag"]
            assert bytes(await obstore.get_range_async(store, name, start=1, end=3)) == (name.encode() * 3)[1:3]
        assert (await obstore.head_async(store, "b"))["size"] == 3
        with pytest.raises(FileNotFoundError):
            await obstore.get_async(store, "none")

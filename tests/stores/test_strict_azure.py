"""The strict server of Azure Blob Storage answers as in Microsoft's documents, and so does Azurite where it can."""

import asyncio
import base64
import hashlib
import http.client
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest
from adlfs import AzureBlobFileSystem
from aiohttp import ClientPayloadError, ClientSession
from azure.core import MatchConditions
from azure.core.exceptions import AzureError as SdkError
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import (
    BlobBlock,
    PartialBatchErrorException,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from obstore.store import AzureStore

from azure_servers import AzureServer, azurite, strict_azure
from proxy import Cut, Drop, Flip, FlipReply, Request, Reset, Status
from strict_azure_auth import Credentials, string_to_sign

pytestmark = pytest.mark.timeout(600)  # the first test may install Azurite

MIB = 1 << 20
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
EXCLUSIVE = {"If-None-Match": "*"}
OTHER = {"If-Match": '"0x1"'}
SOON = datetime.now(UTC) + timedelta(hours=1)

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def strict() -> Iterator[AzureServer]:
    with strict_azure() as server:
        yield server


@pytest.fixture(scope="module", params=["strict", "azurite"])
def server(request: pytest.FixtureRequest) -> Iterator[AzureServer]:
    if request.param == "strict":
        yield request.getfixturevalue("strict")
    else:
        with azurite() as server:
            yield server


@pytest.fixture
def ask(server: AzureServer) -> Ask:
    return asker(server)


@pytest.fixture
def ask_strict(strict: AzureServer) -> Ask:
    return asker(strict)


@pytest.fixture
async def client(server: AzureServer) -> AsyncIterator[ContainerClient]:
    async with connected(server) as client:
        yield client


def connected(server: AzureServer, **options: Any) -> ContainerClient:
    """A client of a new container, which sends more than 1 MiB in blocks."""
    sizes = {"max_single_put_size": MIB, "max_block_size": MIB, "max_single_get_size": MIB, "max_chunk_get_size": MIB}
    return ContainerClient.from_connection_string(server.connection_string, server.bucket(), **sizes, **options)


def asker(server: AzureServer) -> Ask:
    """Sends requests to a new container, and returns "status code"; `headers` of the last reply are an attribute."""
    container = server.bucket()

    def ask(
        method: str, name: str, query: str = "", body: bytes = b"", *, sas: str | None = None, **headers: str
    ) -> str:
        token = account_sas(server) if sas is None else sas
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        path = f"/{server.account}/{container}/{name}".rstrip("/" if not name else "")
        connection.request(
            method, f"{path}?{'&'.join(filter(None, (query, token)))}", body, {"x-ms-version": "2024-11-04", **headers}
        )
        reply = connection.getresponse()
        ask.body, ask.headers = reply.read(), reply.headers  # type: ignore[attr-defined]
        connection.close()
        return f"{reply.status} {reply.headers.get('x-ms-error-code', '')}".strip()

    ask.container = container  # type: ignore[attr-defined]
    return ask


def account_sas(server: AzureServer, permissions: str = "rwdlac", types: str = "sco", **options: Any) -> str:
    expiry = options.pop("expiry", SOON)
    return generate_account_sas(server.account, server.key, types, permissions, expiry, **options)


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def block(number: int, digits: int = 2) -> str:
    return f"comp=block&blockid={quote(base64.b64encode(f'{number:0{digits}}'.encode()))}"


def block_list(*numbers: int, kind: str = "Latest") -> bytes:
    ids = (base64.b64encode(f"{number:02}".encode()).decode() for number in numbers)
    return f"<BlockList>{''.join(f'<{kind}>{one}</{kind}>' for one in ids)}</BlockList>".encode()


# --- as in the documents, on both servers


def test_a_put_is_refused_with_another_md5(ask: Ask) -> None:
    for name in ("Content-MD5", "x-ms-blob-content-md5"):
        assert ask("PUT", "a", "", b"x", **BLOCK_BLOB, **{name: md5(b"y")}) == "400 Md5Mismatch"
    assert ask("PUT", "a", "", b"x", **BLOCK_BLOB, **{"Content-MD5": "eHg="}) == "400 InvalidMd5"
    assert ask("GET", "a") == "404 BlobNotFound"
    assert ask("PUT", "a", "", b"x", **BLOCK_BLOB, **{"Content-MD5": md5(b"x")}) == "201"
    assert ask.headers["Content-MD5"] == md5(b"x")
    assert ask("PUT", "b", "", b"x", **BLOCK_BLOB) == "201"
    assert ask.headers["Content-MD5"] == md5(b"x")


def test_a_put_has_conditions(ask: Ask) -> None:
    assert ask("PUT", "a", "", b"1", **BLOCK_BLOB, **OTHER) == "412 ConditionNotMet"
    assert ask("PUT", "a", "", b"1", **BLOCK_BLOB, **EXCLUSIVE) == "201"
    same = {"If-Match": ask.headers["ETag"]}
    assert ask("PUT", "a", "", b"2", **BLOCK_BLOB, **EXCLUSIVE) == "409 BlobAlreadyExists"
    assert ask("PUT", "a", "", b"2", **BLOCK_BLOB, **OTHER) == "412 ConditionNotMet"
    assert ask("PUT", "a", "", b"2", **BLOCK_BLOB, **EXCLUSIVE, **same) == "400 MultipleConditionHeadersNotSupported"
    assert ask("PUT", "a", "", b"2", **BLOCK_BLOB, **same) == "201"
    assert ask("PUT", "a", "", b"3", **BLOCK_BLOB, **same) == "412 ConditionNotMet"
    assert ask("DELETE", "a", **same) == "412 ConditionNotMet"
    assert (ask("GET", "a"), ask.body) == ("200", b"2")
    assert ask("DELETE", "a", **{"If-Match": ask.headers["ETag"]}) == "202"
    assert ask("DELETE", "a") == "404 BlobNotFound"


def test_blocks_become_visible_with_their_list(ask: Ask) -> None:
    assert ask("PUT", "a", block(1), b"x", **{"Content-MD5": md5(b"y")}) == "400 Md5Mismatch"
    assert ask("PUT", "a", block(1), b"x", **{"Content-MD5": md5(b"x")}) == "201"
    assert ask("PUT", "a", block(2), b"y") == "201"
    assert ask("PUT", "a", block(2), b"z") == "201"
    assert ask("PUT", "a", block(3, digits=3), b"x") == "400 InvalidBlobOrBlock"
    assert ask("GET", "a") == ask("HEAD", "a") == "404 BlobNotFound"
    listing = "restype=container&comp=list"
    assert ask("GET", "", listing) == "200"
    assert b"<Name>a<" not in ask.body
    assert ask("GET", "", f"{listing}&include=uncommittedblobs") == "200"
    assert b"<Name>a<" in ask.body
    assert ask("PUT", "a", "comp=blocklist", block_list(1, 9)) == "400 InvalidBlockList"
    assert ask("PUT", "a", "comp=blocklist", block_list(1, kind="Committed")) == "400 InvalidBlockList"
    stated = {"x-ms-blob-content-md5": md5(b"zx"), **EXCLUSIVE}
    assert ask("PUT", "a", "comp=blocklist", block_list(2, 1), **stated) == "201"
    assert (ask("GET", "a"), ask.body, ask.headers["Content-MD5"]) == ("200", b"zx", md5(b"zx"))
    assert ask("PUT", "a", block(3), b"w") == "201"
    assert ask("PUT", "a", "comp=blocklist", block_list(3), **stated) == "409 BlobAlreadyExists"
    assert ask("PUT", "a", "comp=blocklist", block_list(3), **OTHER) == "412 ConditionNotMet"
    assert ask("PUT", "a", "comp=blocklist", block_list(3, 1)) == "201"
    assert (ask("GET", "a"), ask.body) == ("200", b"wx")
    assert ask("PUT", "a", "comp=blocklist", block_list(2)) == "400 InvalidBlockList"


def test_reads_have_ranges_and_conditions(ask: Ask) -> None:
    assert ask("PUT", "a", "", b"abc", **BLOCK_BLOB) == "201"
    etag = ask.headers["ETag"]
    assert (ask("GET", "a", Range="bytes=1-"), ask.body, ask.headers["Content-Range"]) == ("206", b"bc", "bytes 1-2/3")
    assert "Content-MD5" not in ask.headers
    assert ask.headers["x-ms-blob-content-md5"] == md5(b"abc")
    assert (ask("GET", "a", Range="bytes=1-99"), ask.body) == ("206", b"bc")
    assert (ask("GET", "a", Range="bytes=1-1", **{"x-ms-range": "bytes=0-0"}), ask.body) == ("206", b"a")
    assert ask("GET", "a", Range="bytes=1-1", **{"x-ms-range-get-content-md5": "true"}) == "206"
    assert ask.headers["Content-MD5"] == md5(b"b")
    assert ask("GET", "a", Range="bytes=4-") == "416 InvalidRange"
    assert ask("GET", "a", **{"If-Match": etag}) == "200"
    assert ask("GET", "a", **OTHER) == "412 ConditionNotMet"
    assert ask("GET", "a", **{"If-None-Match": etag}) == "304 ConditionNotMet"
    assert ask("GET", "a", **EXCLUSIVE) == "400 UnsatisfiableCondition"
    assert ask("HEAD", "a") == "200"
    assert (ask.headers["Content-Length"], ask.headers["ETag"]) == ("3", etag)


def test_a_copy_keeps_what_a_blob_has(ask: Ask, server: AzureServer) -> None:
    source = {"x-ms-copy-source": f"{server.endpoint_url}/{ask.container}/a?{account_sas(server)}"}
    assert ask("PUT", "b", **source) == "404 CannotVerifyCopySource"
    assert ask("PUT", "a", "", b"abc", **BLOCK_BLOB, **{"x-ms-meta-one": "1", "x-ms-blob-content-type": "x/y"}) == "201"
    for name, sync in (("b", {}), ("c", {"x-ms-requires-sync": "true"})):
        assert ask("PUT", name, **source, **sync, **EXCLUSIVE) == "202"
        assert ask.headers["x-ms-copy-status"] == "success"
        assert ask("PUT", name, **source, **sync, **EXCLUSIVE) == "409 BlobAlreadyExists"
        assert (ask("GET", name), ask.body) == ("200", b"abc")
        assert (ask.headers["x-ms-meta-one"], ask.headers["Content-Type"]) == ("1", "x/y")
        assert ask.headers["Content-MD5"] == md5(b"abc")


def test_containers_have_rules_for_names(ask: Ask, server: AzureServer) -> None:
    assert ask("PUT", "", "restype=container") == "409 ContainerAlreadyExists"
    assert ask("HEAD", "", "restype=container") == "200"
    assert ask("DELETE", "", "restype=container") == "202"
    assert ask("GET", "a") == ask("GET", "", "restype=container&comp=list") == "404 ContainerNotFound"
    for name, code in {"Upper": "InvalidResourceName", "a--b": "InvalidResourceName", "ab": "OutOfRangeInput"}.items():
        with pytest.raises(HttpResponseError) as caught:
            server.service.create_container(name)
        assert (caught.value.status_code, caught.value.error_code) == (400, code)


def test_a_sas_allows_what_it_names(ask: Ask, server: AzureServer) -> None:
    assert ask("PUT", "a", "", b"x", **BLOCK_BLOB) == "201"
    for sas, put, get in (
        (account_sas(server, "rl"), "403 AuthorizationPermissionMismatch", "200"),
        (account_sas(server, "w"), "201", "403 AuthorizationPermissionMismatch"),
        (account_sas(server, types="c"), *["403 AuthorizationResourceTypeMismatch"] * 2),
        (account_sas(server, protocol="https"), *["403 AuthorizationProtocolMismatch"] * 2),
    ):
        assert (ask("PUT", "a", "", b"y", sas=sas, **BLOCK_BLOB), ask("GET", "a", sas=sas)) == (put, get)
    assert ask("PUT", "new", "", b"y", sas=account_sas(server, "c"), **BLOCK_BLOB) == "201"
    assert ask("PUT", "new", "", b"y", sas=account_sas(server, "c"), **BLOCK_BLOB).startswith("403")
    place = (server.account, ask.container)
    container = generate_container_sas(*place, server.key, permission="rl", expiry=SOON)
    assert ask("GET", "a", sas=container) == ask("GET", "", "restype=container&comp=list", sas=container) == "200"
    assert ask("PUT", "a", "", b"y", sas=container, **BLOCK_BLOB) == "403 AuthorizationPermissionMismatch"
    blob = generate_blob_sas(*place, "a", account_key=server.key, permission="r", expiry=SOON)
    assert ask("GET", "a", sas=blob) == "200"
    assert ask("GET", "new", sas=blob).startswith("403")


@pytest.mark.parametrize("case", ["expired", "not yet", "changed"])
def test_a_sas_that_is_not_valid_is_refused(ask: Ask, server: AzureServer, case: str) -> None:
    past, future = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (-1, 30))
    sas = {
        "expired": account_sas(server, expiry=past),
        "not yet": account_sas(server, start=future),
        "changed": account_sas(server, "r").replace("sp=r", "sp=rw"),
    }[case]
    code = "AuthenticationFailed" if server.strict else "AuthorizationFailure"  # the document has the former
    assert ask("GET", "a", sas=sas) == f"403 {code}"


# --- what Azurite lets pass


def test_the_strict_server_refuses_what_no_operation_has(ask_strict: Ask) -> None:
    ask = ask_strict
    assert ask("PUT", "a", "", b"x") == "400 MissingRequiredHeader"
    for name in ("x-ms-other", "x-ms-content-crc64", "x-ms-structured-body"):
        assert ask("PUT", "a", "", b"x", **BLOCK_BLOB, **{name: "1"}) == "400 UnsupportedHeader"
    assert ask("GET", "a", "other=1") == "400 UnsupportedQueryParameter"
    assert ask("GET", "a", "comp=other") == "400 InvalidQueryParameterValue"
    assert ask("POST", "a") == "405 UnsupportedHttpVerb"
    assert ask("PUT", "a", "comp=block", b"x") == "400 MissingRequiredQueryParameter"
    assert ask("PUT", "a", "comp=block&blockid=%23", b"x") == "400 InvalidBlockId"
    assert ask("PUT", "a", block(1, digits=65), b"x") == "400 InvalidBlockId"
    assert ask("PUT", "a", block(1)) == "400 InvalidHeaderValue"
    assert ask("PUT", "a", block(1), b"x", **EXCLUSIVE) == "400 ConditionHeadersNotSupported"
    assert ask("PUT", "a", block(1), b"x", **{"Content-MD5": md5(b"x")}) == "201"
    assert ask.headers["Content-MD5"] == md5(b"x")
    assert ask("DELETE", "a") == "404 BlobNotFound"
    assert ask("PUT", "a", "comp=blocklist", b"<B") == "400 InvalidXmlDocument"
    assert ask("PUT", "a", "comp=blocklist", block_list(1), **{"Content-MD5": md5(b"")}) == "400 Md5Mismatch"
    assert ask("PUT", "a", "comp=blocklist", block_list(1)) == "201"
    assert ask("DELETE", "a", **EXCLUSIVE) == "412 ConditionNotMet"
    for wrong in ("bytes=-1", "bytes=2-1", "bytes=0-0,1-1"):
        assert ask("GET", "a", Range=wrong) == "400 InvalidHeaderValue"
    assert ask("GET", "a", **{"x-ms-range-get-content-md5": "true"}) == "400 InvalidHeaderValue"
    large = {"Range": f"bytes=0-{4 * MIB}", "x-ms-range-get-content-md5": "true"}
    assert ask("GET", "a", **large) == "400 OutOfRangeInput"
    assert ask("GET", "", "restype=container&comp=list&maxresults=0") == "400 OutOfRangeQueryParameterValue"
    assert ask("GET", "", "restype=container&comp=list&marker=x") == "400 InvalidQueryParameterValue"


def test_the_strict_server_drops_what_a_write_replaces(ask_strict: Ask) -> None:
    ask = ask_strict
    assert ask("PUT", "a", block(1), b"x") == "201"
    assert ask("PUT", "a", "", b"whole", **BLOCK_BLOB) == "201"
    assert ask("GET", "a", "comp=blocklist&blocklisttype=all") == "200"
    assert b"<Block>" not in ask.body
    assert ask("PUT", "a", "comp=blocklist", block_list(1)) == "400 InvalidBlockList"
    assert ask("PUT", "a", block(1), b"x") == "201"
    assert ask("PUT", "a", "comp=blocklist", block_list(1)) == "201"
    assert (ask("GET", "a"), ask.headers["Content-MD5"]) == ("200", None)
    assert ask("GET", "a", Range="bytes=1-") == "416 InvalidRange"


def test_the_strict_server_refuses_names_that_microsoft_advises_against(ask_strict: Ask) -> None:
    for good in ("x" * 1024, "a//b", "%C3%BC", "a/..b", "/".join("a" * 254)):
        assert ask_strict("PUT", good, "", b"x", **BLOCK_BLOB) == "201"
    for bad in ("a/", "a.", "a./b", "../b", "x" * 1025, "/".join("a" * 255), "%01", "%EE%80%80", "%FF"):
        status = ask_strict("PUT", bad, "", b"x", **BLOCK_BLOB)
        assert status in ("400 InvalidResourceName", "400 InvalidUri")
        assert ask_strict("PUT", bad, block(1), b"x") == status


def test_the_strict_server_knows_only_this_machine(ask_strict: Ask, strict: AzureServer) -> None:
    assert ask_strict("GET", "a", sas=account_sas(strict, ip="127.0.0.1")) == "404 BlobNotFound"
    assert ask_strict("GET", "a", sas=account_sas(strict, ip="10.0.0.1")) == "403 AuthorizationSourceIPMismatch"
    assert ask_strict("GET", "a", sas="x=1") == "401 NoAuthenticationInformation"


async def test_names_that_xml_does_not_have_are_encoded(strict: AzureServer) -> None:
    async with connected(strict) as client:
        await client.upload_blob("a\uffff b", b"")
        assert [blob.name async for blob in client.list_blobs()] == ["a\uffff b"]
        assert strict.strict
        assert "a\uffff b" in strict.strict.containers[client.container_name].blobs


# --- signatures


async def test_another_key_is_refused(server: AzureServer) -> None:
    other = base64.b64encode(b"another").decode()
    async with BlobServiceClient(server.endpoint_url, {"account_name": server.account, "account_key": other}) as client:
        with pytest.raises(HttpResponseError) as caught:
            await client.create_container("never")
        assert caught.value.status_code == 403


@pytest.mark.parametrize(
    ("changed", "value", "answer"),
    [
        ("", "", "404 BlobNotFound"),
        ("x-ms-meta-added", "1", "403 AuthenticationFailed"),
        ("if-match", "*", "403 AuthenticationFailed"),
        ("x-ms-version", "2023-01-03", "403 AuthenticationFailed"),
    ],
)
def test_a_signature_is_of_all_headers(strict: AzureServer, changed: str, value: str, answer: str) -> None:
    assert signed(strict, {"x-ms-version": "2024-11-04"}, {changed: value} if changed else {}) == answer


def test_a_signature_needs_a_recent_date_and_a_version(strict: AzureServer) -> None:
    assert signed(strict, {}, {}) == "400 MissingRequiredHeader"
    for wrong in ("Thu, 01 Jan 2026 00:00:00 GMT", "no date", ""):
        headers = {"x-ms-version": "2024-11-04", "x-ms-date": wrong}
        assert signed(strict, headers, {}) == "403 AuthenticationFailed"


def signed(server: AzureServer, headers: dict[str, str], changed: dict[str, str]) -> str:
    """Signs a request for a blob that is not there, changes headers, and sends it."""
    target = f"/{server.account}/{server.bucket()}/a"
    headers = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), **headers}
    signature = Credentials(server.account, server.key).sign(
        string_to_sign(Request("GET", target, headers, b""), server.account, {})
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    authorization = {"authorization": f"SharedKey {server.account}:{signature}"}
    connection.request("GET", target, headers={**headers, **changed, **authorization})
    reply = connection.getresponse()
    connection.close()
    return f"{reply.status} {reply.headers['x-ms-error-code']}"


# --- Microsoft's client, and others


@pytest.mark.parametrize("size", [0, 5, 3 * MIB + 7])
async def test_what_the_client_checks_comes_back(client: ContainerClient, server: AzureServer, size: int) -> None:
    content = os.urandom(size)
    name = "a b+c%41/\u00e9?#&='~.txt"
    blob = await client.upload_blob(name, content, validate_content=True, metadata={"one": "1"})
    with pytest.raises(ResourceExistsError):
        await client.upload_blob(name, b"other" * MIB, validate_content=True)
    reply = await client.download_blob(name, validate_content=True)
    assert await reply.readall() == content == server.content(client.container_name, name)
    properties = await blob.get_blob_properties()
    (listed,) = [one async for one in client.list_blobs(include=["metadata"])]
    assert (listed.name, listed.size, listed.metadata) == (name, size, {"one": "1"})
    assert listed.etag.strip('"') == properties.etag.strip('"')
    assert listed.content_settings.content_md5 == properties.content_settings.content_md5
    with pytest.raises(HttpResponseError):
        await blob.delete_blob(etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    await blob.delete_blob(etag=properties.etag, match_condition=MatchConditions.IfNotModified)
    assert server.contents(client.container_name) == {}


async def test_uploads_continue_with_the_blocks_that_are_there(client: ContainerClient, server: AzureServer) -> None:
    blob = client.get_blob_client("a")
    if server.strict is None:  # Azurite does not list blocks of a blob that has no others
        await blob.upload_blob(b"before")
    for number in range(3):
        await blob.stage_block(f"{number:05}", str(number).encode(), validate_content=True)
    committed, uncommitted = await blob.get_block_list("all")
    assert not committed
    assert [(one.id, one.size) for one in uncommitted] == [(f"{number:05}", 1) for number in range(3)]
    assert server.uncommitted(client.container_name, "a") == [f"{number:05}" for number in range(3)]
    await blob.commit_block_list([BlobBlock(one.id) for one in reversed(uncommitted)], validate_content=True)
    assert server.content(client.container_name, "a") == b"210"
    committed, uncommitted = await blob.get_block_list("all")
    assert ([one.id for one in committed], uncommitted) == (["00002", "00001", "00000"], [])


async def test_lists_come_in_pages_with_prefixes(client: ContainerClient) -> None:
    names = ["A", "a/1", "a/2", "a/b/1", "b", "c/1", "\u00e9"]
    for name in names:
        await client.upload_blob(name, b"")
    pages = client.list_blobs(results_per_page=2).by_page()
    assert [[blob.name async for blob in page] async for page in pages] == [
        names[:2],
        names[2:4],
        names[4:6],
        names[6:],
    ]
    assert [blob.name async for blob in client.list_blobs(name_starts_with="a/")] == names[1:4]
    walked = [one.name async for one in client.walk_blobs(delimiter="/", results_per_page=2)]
    assert sorted(walked) == ["A", "a/", "b", "c/", "\u00e9"]
    assert sorted([one.name async for one in client.walk_blobs("a/", delimiter="/")]) == ["a/1", "a/2", "a/b/"]


async def test_a_batch_deletes_what_it_can(client: ContainerClient, server: AzureServer) -> None:
    for name in ("a", "b c", "d"):
        await client.upload_blob(name, b"")
    with pytest.raises(PartialBatchErrorException) as caught:
        await client.delete_blobs("a", "none", {"name": "d", "etag": '"0x1"'}, "b c")
    assert [part.status_code for part in caught.value.parts] == [202, 404, 412, 202]
    codes = [part.headers.get("x-ms-error-code") for part in caught.value.parts]
    assert codes == [None, "BlobNotFound", "ConditionNotMet", None]
    assert list(server.contents(client.container_name)) == ["d"]
    with pytest.raises(HttpResponseError):
        await client.delete_blobs(*map(str, range(257)))


async def test_obstore_reads_what_the_client_wrote(client: ContainerClient, server: AzureServer) -> None:
    store = AzureStore(
        client.container_name,
        account_name=server.account,
        account_key=server.key,
        endpoint=server.endpoint_url,
        client_options={"allow_http": True},
    )
    content, name = os.urandom(2 * MIB), "a b/\u00e9+.txt"
    await client.upload_blob(name, content)
    assert bytes(await (await store.get_async(name)).bytes_async()) == content
    assert bytes(await store.get_range_async(name, start=10, length=20)) == content[10:30]
    found = [one async for page in store.list("a b") for one in page]
    head = await store.head_async(name)
    assert [(one["path"], one["size"]) for one in found] == [(name, len(content))]
    assert str(found[0]["e_tag"]).strip('"') == str(head["e_tag"]).strip('"')
    await store.put_async("b", b"written")
    assert server.content(client.container_name, "b") == b"written"
    await store.delete_async(["b", name])
    assert server.contents(client.container_name) == {}


async def test_adlfs_reads_what_the_client_wrote(client: ContainerClient, server: AzureServer) -> None:
    content, name = os.urandom(2 * MIB), "a b/\u00e9+.txt"
    await client.upload_blob(name, content)
    files = AzureBlobFileSystem(connection_string=server.connection_string, skip_instance_cache=True)
    path = f"{client.container_name}/{name}"

    def use() -> None:
        assert files.cat_file(path) == content
        assert files.cat_file(path, start=10, end=30) == content[10:30]
        assert files.find(client.container_name) == [path]
        assert files.info(path)["size"] == len(content)
        files.pipe_file(f"{client.container_name}/b", b"written")
        assert server.content(client.container_name, "b") == b"written"

    await asyncio.to_thread(use)


# --- faults


async def test_a_rule_damages_the_nth_body(strict: AzureServer) -> None:
    assert strict.strict
    async with connected(strict, retry_total=0) as client:
        strict.strict.add(Flip(), when=lambda request: "comp=block&" in request.target, after=2, times=1)
        with pytest.raises(HttpResponseError) as caught:
            await client.upload_blob("a", b"x" * 4 * MIB, validate_content=True)
        assert caught.value.error_code == "Md5Mismatch"
        await client.upload_blob("a", b"x" * 4 * MIB, validate_content=True)
        strict.strict.add(FlipReply(), when=lambda request: request.method == "GET", times=1)
        with pytest.raises(SdkError):
            await (await client.download_blob("a", validate_content=True)).readall()
        strict.strict.clear()
        assert strict.contents(client.container_name) == {"a": b"x" * 4 * MIB}


@pytest.mark.parametrize("fault", [Status(503, "ServerBusy"), Status(429, "TooManyRequests"), Reset(), Drop()])
async def test_a_rule_fails_requests(strict: AzureServer, fault: Status | Reset | Drop) -> None:
    assert strict.strict
    times = 1 if isinstance(fault, Status) else 2  # aiohttp itself repeats a PUT once when its connection is cut
    async with connected(strict, retry_total=0) as client:
        strict.strict.add(fault, when=lambda request: request.method == "PUT", times=times)
        before = len(strict.strict.log)
        with pytest.raises(SdkError) as caught:
            await client.upload_blob("a", b"content")
        assert [seen.fault for seen in strict.strict.log[before:]] == [fault] * times
        if isinstance(fault, Status):
            assert isinstance(caught.value, HttpResponseError)
            assert (caught.value.status_code, caught.value.error_code) == (fault.status, fault.code)
        assert strict.contents(client.container_name) == ({"a": b"content"} if isinstance(fault, Drop) else {})


async def test_a_rule_cuts_a_reply(strict: AzureServer) -> None:
    assert strict.strict
    url = f"{strict.endpoint_url}/{strict.bucket()}"
    name = url.rpartition("/")[2]
    strict.client(name).upload_blob("a", b"content")
    async with ClientSession() as session:
        for clean in (False, True):
            strict.strict.add(Cut(3, clean), times=1)
            async with session.get(f"{url}/a?{account_sas(strict)}") as reply:
                if clean:
                    assert await reply.read() == b"con"
                    continue
                with pytest.raises(ClientPayloadError):
                    await reply.read()


def test_requests_and_bytes_are_counted() -> None:
    with strict_azure() as server:
        container = server.bucket()
        server.client(container).upload_blob("a", b"content")
        assert server.content(container, "a") == b"content"
        assert server.strict
        assert server.strict.counts() == {"PUT": 2, "GET": 1}
        assert (server.strict.received, server.strict.sent) == (7, 7)


async def test_rules_with_shares_spoil_as_many_as_they_say(strict: AzureServer) -> None:
    assert strict.strict
    async with connected(strict, retry_total=0) as client:
        strict.strict.add(Status(503, "ServerBusy"), when=lambda request: request.method == "PUT", share=0.3)
        uploads = [client.upload_blob(str(number), b"x") for number in range(200)]
        ends = await asyncio.gather(*uploads, return_exceptions=True)
        strict.strict.clear()
        failed = {str(number) for number, end in enumerate(ends) if isinstance(end, HttpResponseError)}
        assert 30 <= len(failed) <= 90
        assert failed | set(strict.strict.containers[client.container_name].blobs) == {
            str(number) for number in range(200)
        }

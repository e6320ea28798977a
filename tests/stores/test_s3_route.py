"""Certificates, proxies and who pays: all three clients of S3 use the same, or it is refused."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme

from inhaul import Artifact, connect
from inhaul.errors import StorageUnavailable
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.route import route
from inhaul.stores.s3.store import S3Store
from places import QUICK, put
from proxy import Proxy, proxy
from s3_places import Place
from s3_servers import S3Server

ELSEWHERE = "storage.example"  # a host that only a proxy finds


class Secure:
    """A server behind a certificate that only its own authority vouches for."""

    def __init__(self, server: S3Server, bucket: str, front: Proxy, authority: str) -> None:
        self.server = server
        self.bucket = bucket
        self.front = front
        self.authority = authority

    def address(self, host: str = "localhost") -> S3Address:
        return S3Address(self.bucket, uuid4().hex[:12], f"https://{host}:{self.front.port}")


@pytest.fixture
def secure(s3_server: S3Server, s3_bucket: str, tmp_path: Path) -> Iterator[Secure]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", ELSEWHERE).configure_cert(certificate)
    with proxy(s3_server.port, certificate=certificate) as front:
        yield Secure(s3_server, s3_bucket, front, str(tmp_path / "authority.pem"))


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


async def use(address: S3Address, options: dict[str, Any]) -> None:
    """Has all three clients send requests: one stores, one lists and removes, one reads paths."""
    store = S3Store(address, options, QUICK)
    try:
        assert await put(store, "folder/key", b"content") == "etag"
        assert [one.key async for page in store.list() for one in page] == ["folder/key"]
        if (found := await store.reader("folder/key")) is not None:  # None if the server serves no ranges
            reader, key = found
            assert bytes(await (await reader.get_async(key)).bytes_async()) == b"content"
        assert await asyncio.to_thread(store.path("folder/key").read_bytes) == b"content"
        await store.remove(["folder/key"])
    finally:
        await store.aclose()


# --- certificates


@pytest.mark.parametrize("way", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "verify", "profile", "any"])
async def test_certificates_to_trust_reach_all_clients(
    secure: Secure, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = dict(secure.server.options)
    if way == "verify":
        options["client_kwargs"] = {"verify": secure.authority}
    elif way == "any":
        options["client_kwargs"] = {"verify": False}
    elif way == "profile":
        (tmp_path / "config").write_text(f"[profile lab]\nca_bundle = {secure.authority}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        options["profile"] = "lab"
    else:
        monkeypatch.setenv(way, secure.authority)
    await use(secure.address(), options)


async def test_a_certificate_that_is_not_trusted_is_said_to_be_at_once(secure: Secure) -> None:
    store = S3Store(secure.address(), secure.server.options)  # which would try for two minutes
    begun = time.monotonic()
    for call in (put(store, "key", b"content"), anext(aiter(store.list())), store.stat("key"), store.remove(["key"])):
        with pytest.raises(StorageUnavailable, match=r"certificate of the server is not trusted.*AWS_CA_BUNDLE"):
            await call
    await store.aclose()
    assert time.monotonic() - begun < 10
    assert secure.front.log == []


async def test_certificates_that_cannot_be_read_are_named(
    secure: Secure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "missing.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", missing)
    for options in ({}, {"client_kwargs": {"verify": missing}}):
        store = S3Store(secure.address(), {**secure.server.options, **options}, QUICK)
        with pytest.raises(StorageUnavailable, match=r"missing\.pem.*AWS_CA_BUNDLE"):
            await put(store, "key", b"content")
        await store.aclose()


# --- proxies


@pytest.fixture
def through(s3_server: S3Server) -> Iterator[Proxy]:
    with proxy(s3_server.port) as one:
        yield one


@pytest.mark.parametrize("way", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "proxies", "without a scheme"])
async def test_a_proxy_is_used_by_all_clients(
    s3_server: S3Server, s3_bucket: str, through: Proxy, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = dict(s3_server.options)
    if way == "proxies":
        options["config_kwargs"] = {"proxies": {"http": through.endpoint_url}}
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # what is passed counts
    elif way == "without a scheme":
        monkeypatch.setenv("HTTP_PROXY", through.endpoint_url.removeprefix("http://"))
    else:
        monkeypatch.setenv(way, through.endpoint_url)
    await use(S3Address(s3_bucket, uuid4().hex[:12], f"http://{ELSEWHERE}"), options)
    assert len(through.log) >= 6


async def test_a_proxy_lets_https_through_for_all_clients(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", secure.authority)
    with proxy(secure.front.port) as through:
        monkeypatch.setenv("HTTPS_PROXY", through.endpoint_url)
        await use(secure.address(ELSEWHERE), dict(secure.server.options))
        assert {seen.request.method for seen in through.log} == {"CONNECT"}
        assert len(through.log) >= 3
    assert len(secure.front.log) >= 6


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "127.0.0.0/8", "other, 127.0.0.1:{port}"])
async def test_a_host_that_no_proxy_is_for_is_asked_directly_by_all_clients(
    place: Place, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy.format(port=place.proxy.port))
    await use(place.address, dict(place.server.options))


@pytest.mark.parametrize(
    ("host", "no_proxy", "goes_through"),
    [
        ("s3.lab.example", "lab.example", False),
        ("s3.lab.example", ".lab.example", False),
        ("s3.lab.example", "*.lab.example", False),
        ("s3.lab.example", "S3.LAB.EXAMPLE", False),
        ("s3.lab.example", "s3.lab.example:443", False),
        ("s3.lab.example", "s3.lab.example:80", True),
        ("s3.lab.example", "b.example", True),
        ("s3.lab.example", "3.lab.example", True),
        ("s3.lab.example", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "11.0.0.0/8 , 10.1.2.3", False),
        ("[fd00::1]", "fd00::/8", False),
        ("s3.lab.example", "", True),
    ],
)
def test_no_proxy_is_read_in_every_form(
    host: str, no_proxy: str, goes_through: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    found = route(S3Address("bucket", "", f"https://{host}:443"), {}).proxy
    assert found == ("http://proxy:3128" if goes_through else None)


async def test_a_proxy_that_cannot_be_used_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"config_kwargs": {"proxies": {"http": "socks5://user:hidden@host"}}}
    with pytest.raises(ValueError, match="proxy") as raised:
        connect(str(place.address), storage_options=options)
    assert "hidden" not in str(raised.value)
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hidden@host")
    store = place.store()
    with pytest.raises(StorageUnavailable, match="NO_PROXY") as unusable:
        await put(store, "key", b"content")
    assert "hidden" not in str(unusable.value)
    await store.aclose()


# --- the rest


@pytest.mark.parametrize(
    "options",
    [
        {"client_kwargs": {"aws_access_key_id": "x"}},
        {"client_kwargs": {"config": None}},
        {"client_kwargs": {"verify": 1.5}},
        {"config_kwargs": {"client_cert": "x"}},
        {"config_kwargs": {"signature_version": "s3"}},
        {"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}},
        {"config_kwargs": {"s3": {"addressing_style": "odd"}}},
        {"config_kwargs": {"proxies_config": {"proxy_client_cert": "x"}}},
    ],
)
def test_what_would_not_reach_all_clients_is_refused(place: Place, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="storage_options"):
        connect(str(place.address), storage_options=options)


async def test_the_requester_pays_in_every_request(place: Place) -> None:
    await use(place.address, {**place.server.options, "requester_pays": True})
    assert len(place.proxy.log) >= 6
    assert {seen.request.headers.get("x-amz-request-payer") for seen in place.proxy.log} == {"requester"}
    place.proxy.log.clear()
    await use(place.address, dict(place.server.options))
    assert {seen.request.headers.get("x-amz-request-payer") for seen in place.proxy.log} == {None}


async def test_the_bucket_is_part_of_the_host_if_that_is_asked_for(
    s3_server: S3Server, s3_bucket: str, through: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", through.endpoint_url)
    options = {**s3_server.options, "config_kwargs": {"s3": {"addressing_style": "virtual"}}}
    store = S3Store(S3Address(s3_bucket, "x", f"http://{ELSEWHERE}"), options, QUICK.__class__(give_up=0.1))
    reading = asyncio.to_thread(store.path("key").read_bytes)
    for call in (put(store, "key", b"content"), anext(aiter(store.list())), reading):
        with suppress(OSError):
            await call  # the servers of the tests do not know the host
    await store.aclose()
    assert len(through.log) >= 3
    assert {seen.request.headers["host"] for seen in through.log} == {f"{s3_bucket}.{ELSEWHERE}"}


async def test_a_folder_that_was_listed_is_gone_when_it_is_deleted(place: Place, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with connect(str(place.address), url, storage_options=place.server.options):
        artifact = await Artifact(tmp_path / "folder", key="folder").save()
        path = artifact.path
        assert [one.name for one in await asyncio.to_thread(lambda: list(path.iterdir()))] == ["a"]
        assert await asyncio.to_thread(path.exists)
        await artifact.delete(permanent=True)
        assert not await asyncio.to_thread(path.exists)

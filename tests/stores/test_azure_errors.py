"""Errors of all clients of Azure mean the same. They are real errors, caused by a proxy."""

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from obstore import get_async, head_async

from azure_places import AzurePlace
from inhaul.errors import MissingLibrary, ObjectRefused, StorageDenied
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.faults import classify
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.faults import Fault, Kind
from places import QUICK, put
from proxy import Answer, Reply, Reset, Stall, proxy
from proxy import Fault as Spoiled


@pytest.fixture
async def clients(strict_azure_place: AzurePlace) -> AsyncIterator[Clients]:
    limits = QUICK.__class__(no_progress=0.5)
    clients = await Clients.open(strict_azure_place.address, strict_azure_place.server.options, limits)
    yield clients
    await clients.aclose()


def refusal(status: int, code: str, detail: str = "") -> Answer:
    """Answers as Azure does, with the code in the header and in the body."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Secret text.</Message>{detail}</Error>".encode()

    def make(request: Any) -> Reply:
        headers = {"x-ms-error-code": code, "Content-Type": "application/xml"} if code else {}
        sent = b"" if request.method == "HEAD" or not code else body
        return Reply(f"{status} X", [*headers.items(), ("Content-Length", str(len(sent)))], sent)

    return Answer(make)


async def faults(clients: Clients) -> list[Fault]:
    """Returns the meanings of errors: of obstore for GET and HEAD, ours for blobs and blocks, Microsoft's for HEAD."""
    requests: list[Callable[[], Any]] = [
        lambda: get_async(clients.objects, "key"),
        lambda: head_async(clients.objects, "key"),
        lambda: clients.puts.blob("key", b"x", bytes(16), metadata={}, replaces=True),
        lambda: clients.puts.block("key", "id", b"x", bytes(16)),
        lambda: clients.look("key"),
    ]
    found = []
    for request in requests:
        with pytest.raises(Exception) as raised:
            await request()
        found.append(classify(raised.value))
    return found


@pytest.mark.parametrize(
    ("status", "code", "kind", "without"),
    [
        (400, "Md5Mismatch", Kind.DAMAGED, Kind.REFUSED),
        (400, "InvalidBlockList", Kind.GONE, Kind.REFUSED),
        (400, "OutOfRangeInput", Kind.REFUSED, Kind.REFUSED),
        (401, "InvalidAuthenticationInfo", Kind.EXPIRED, Kind.DENIED),
        (401, "NoAuthenticationInformation", Kind.DENIED, Kind.DENIED),
        (403, "AuthenticationFailed", Kind.DENIED, Kind.DENIED),
        (403, "AuthorizationPermissionMismatch", Kind.DENIED, Kind.DENIED),
        (403, "UnauthorizedBlobOverwrite", Kind.TAKEN, Kind.DENIED),
        (404, "BlobNotFound", Kind.GONE, Kind.GONE),
        (404, "ContainerNotFound", Kind.NO_BUCKET, Kind.GONE),
        (409, "BlobAlreadyExists", Kind.TAKEN, Kind.RETRY),
        (409, "ContainerBeingDeleted", Kind.NO_BUCKET, Kind.RETRY),
        (409, "PendingCopyOperation", Kind.REFUSED, Kind.RETRY),
        (412, "ConditionNotMet", Kind.TAKEN, Kind.TAKEN),
        (429, "TooManyRequests", Kind.SLOWER, Kind.SLOWER),
        (500, "InternalError", Kind.RETRY, Kind.RETRY),
        (500, "OperationTimedOut", Kind.RETRY, Kind.RETRY),
        (503, "ServerBusy", Kind.SLOWER, Kind.RETRY),
        (503, "Unheard", Kind.RETRY, Kind.RETRY),
    ],
)
async def test_an_error_in_a_reply_means_the_same_to_all_clients(
    strict_azure_place: AzurePlace, clients: Clients, status: int, code: str, kind: Kind, without: Kind
) -> None:
    strict_azure_place.proxy.add(refusal(status, code))
    get, head, put, stage, look = await faults(clients)
    assert get == put == stage == look == Fault(kind, status, code)
    assert head == Fault(without, status, "without a code")  # obstore hides the header
    strict_azure_place.proxy.clear()
    strict_azure_place.proxy.add(refusal(status, ""))
    assert await faults(clients) == [Fault(without, status, "without a code")] * 5


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (400, "InvalidBlobOrBlock", "another program has begun to upload this blob in blocks"),
        (409, "SnapshotsPresent", "the blob has snapshots"),
        (409, "BlobImmutableDueToPolicy", "a policy keeps the blob"),
        (412, "LeaseIdMissing", "another program holds a lease on the blob"),
    ],
)
async def test_a_refusal_that_others_cause_is_explained(
    strict_azure_place: AzurePlace, status: int, code: str, says: str
) -> None:
    strict_azure_place.proxy.add(refusal(status, code))
    store = strict_azure_place.store()
    with pytest.raises(ObjectRefused, match=rf"key' in .* \({status} {code}: {says}") as raised:
        await put(store, "key", b"x")
    assert "Secret" not in str(raised.value)
    await store.aclose()


async def test_a_wrong_clock_is_told_from_wrong_credentials(strict_azure_place: AzurePlace, clients: Clients) -> None:
    detail = "<AuthenticationErrorDetail>Request date header too old: 'Mon'</AuthenticationErrorDetail>"
    strict_azure_place.proxy.add(refusal(403, "AuthenticationFailed", detail))
    assert [one.kind for one in (await faults(clients))[2:4]] == [Kind.SKEWED] * 2


@pytest.mark.parametrize("fault", [Reset(), Stall()], ids=lambda fault: type(fault).__name__)
async def test_a_missing_reply_means_the_same_to_all_clients(
    strict_azure_place: AzurePlace, clients: Clients, fault: Spoiled
) -> None:
    strict_azure_place.proxy.add(fault)
    assert [(one.kind, one.status) for one in await faults(clients)] == [(Kind.RETRY, None)] * 5


async def test_a_refused_connection_means_the_same_to_all_clients(
    strict_azure_place: AzurePlace, clients: Clients
) -> None:
    strict_azure_place.proxy.down()
    found = await faults(clients)
    assert [one.kind for one in found] == [Kind.RETRY] * 5
    assert {str(one) for one in found} == {"Connection refused"}


# --- credentials


class Credential:
    """A credential, as those of azure-identity that are not async."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        assert scopes == ("https://storage.azure.com/.default",)
        return AccessToken("private-token", 4_000_000_000)


class AsyncCredential(Credential):
    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
        return super().get_token(*scopes, **options)


class NoCredential:
    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        raise ClientAuthenticationError("a reply with private text")


async def test_a_credential_without_a_token_or_without_https_is_refused(strict_azure_place: AzurePlace) -> None:
    place = AzureAddress("container", "", "https://account.blob.core.windows.net")
    for address, credential, message in (
        (place, NoCredential(), r"no Azure credentials for az://.*ClientAuthenticationError"),
        (strict_azure_place.address, Credential(), "tokens are not sent without https"),
    ):
        store = AzureStore(address, {"credential": credential}, QUICK)
        with pytest.raises(StorageDenied, match=message) as raised:
            await store.stat("key")
        assert "private" not in str(raised.value)
        await store.aclose()


_ALL = """
import asyncio, sys
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.clients import Clients
from inhaul.stores.remote.limiter import Limits
from test_azure_errors import AsyncCredential, Credential, faults

async def main():
    for credential in (Credential(), AsyncCredential()):
        clients = await Clients.open(AzureAddress.parse(sys.argv[1]), {"credential": credential}, Limits())
        await clients.reader()
        print([one.kind.name for one in await faults(clients)])
        await clients.aclose()

asyncio.run(main())
"""


def test_all_clients_send_tokens_and_trust_the_certificates_of_the_environment(
    strict_azure_place: AzurePlace, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for trusted in (True, False):
        with proxy(strict_azure_place.server.port, certificate=context) as one:
            root = f"az://{strict_azure_place.bucket}?endpoint_url=https://127.0.0.1:{one.port}/{strict_azure_place.server.account}"
            environment = {"PYTHONPATH": ":".join(sys.path)}
            if trusted:
                environment["SSL_CERT_FILE"] = str(tmp_path / "ca.pem")
            done = subprocess.run(
                [sys.executable, "-c", _ALL, root], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            expected = ["DENIED"] * 5 if trusted else ["UNTRUSTED"] * 5
            assert done.stdout.splitlines() == [str(expected)] * 2
            sent = [seen.request.headers["authorization"] for seen in one.log]
            assert sent == ["Bearer private-token"] * (10 if trusted else 0)


@pytest.mark.parametrize("module", ["azure.storage.blob.aio", "azure.identity.aio"])
async def test_a_missing_library_is_named_with_its_extra(
    strict_azure_place: AzurePlace, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    options = strict_azure_place.server.options if "blob" in module else {"account_name": "account"}
    store = AzureStore(strict_azure_place.address if "blob" in module else AzureAddress("container", ""), options)
    with pytest.raises(MissingLibrary, match=r'pip install "inhaul\[azure\]"'):
        await store.stat("key")
    await store.aclose()

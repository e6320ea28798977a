"""Credentials of Google: where they come from, how they are renewed, and what is said if there are none."""

import asyncio
import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gcs_places import GcsPlace
from inhaul.errors import MissingLibrary, StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.gcs import credentials
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from places import QUICK, put
from token_servers import TokenServer, token_server
from trees import write


class Tokens(set[str]):
    """The tokens that let in: those that a server gave, except revoked ones."""

    def __init__(self, server: TokenServer) -> None:
        self.server = server
        self.revoked: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return iter([one for one in self.server.tokens if one not in self.revoked])


@pytest.fixture
def tokens(strict_gcs_place: GcsPlace) -> Iterator[Tokens]:
    with token_server() as server:
        strict_gcs_place.strict.tokens = Tokens(server)
        yield strict_gcs_place.strict.tokens


def store_of(place: GcsPlace, token: Any, limits: Limits = QUICK) -> GcsStore:
    return GcsStore(place.address, {} if token is None else {"token": token}, limits)


@pytest.mark.parametrize("way", ["dict", "file", "path", "default"])
async def test_the_key_of_a_service_account_lets_in(
    strict_gcs_place: GcsPlace, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    info = tokens.server.service_account()
    file = write(tmp_path / "key", json.dumps(info))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file) if way == "default" else "")
    given = {"dict": info, "file": str(file), "path": file, "default": "google_default"}[way]
    async with aclosing(store_of(strict_gcs_place, given)) as store:
        await asyncio.gather(*(put(store, str(number), b"content") for number in range(20)))
        assert await store.read("1") == b"content"
        reading = await store.reader("1")
        assert reading
        objects, key = reading
        assert bytes(await objects.get_range_async(key, start=0, end=4)) == b"cont"
    assert tokens.server.tokens == ["token-0"], "asked for once"


async def test_an_access_token_lets_in(strict_gcs_place: GcsPlace) -> None:
    strict_gcs_place.strict.tokens = {"ya29.abc"}
    async with aclosing(store_of(strict_gcs_place, "ya29.abc")) as store:
        assert await put(store, "key", b"content") == "etag"
        assert await store.reader("key")


async def test_a_token_that_ends_soon_is_renewed_before(strict_gcs_place: GcsPlace, tokens: Tokens) -> None:
    tokens.server.seconds = 60
    async with aclosing(store_of(strict_gcs_place, tokens.server.service_account())) as store:
        await put(store, "0", b"")
        tokens.server.seconds = 3600
        await put(store, "1", b"")
        await put(store, "2", b"")
        assert tokens.server.tokens == ["token-0", "token-1"]


async def test_a_valid_token_outlives_an_outage_of_the_server_of_tokens(
    strict_gcs_place: GcsPlace, tokens: Tokens
) -> None:
    tokens.server.seconds = 60
    patient = Limits(no_progress=30, give_up=0.5)
    async with aclosing(store_of(strict_gcs_place, tokens.server.service_account(), patient)) as store:
        await put(store, "0", b"")
        tokens.server.status = 500
        for number in range(10):
            assert await put(store, str(number), b"") == "etag"


async def test_a_token_that_is_refused_is_renewed(
    strict_gcs_place: GcsPlace, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_NEW", 0)
    async with aclosing(store_of(strict_gcs_place, tokens.server.service_account())) as store:
        await put(store, "key", b"content")
        tokens.revoked.append("token-0")
        strict_gcs_place.strict.log.clear()
        await asyncio.gather(*(put(store, str(number), b"content") for number in range(50)))
        assert tokens.server.tokens == ["token-0", "token-1"]
        assert sum(call.status == 401 for call in strict_gcs_place.strict.log) <= 50


@pytest.mark.parametrize(
    ("error", "match"),
    [
        ({"error": "invalid_grant", "error_description": "Invalid grant: account not found hidden"}, "RefreshError"),
        (
            {"error": "invalid_grant", "error_description": "Token must be in a reasonable timeframe. Check your iat"},
            "the clock of this machine is wrong",
        ),
    ],
)
async def test_credentials_that_get_no_token_are_refused(
    strict_gcs_place: GcsPlace, tokens: Tokens, error: dict[str, str], match: str
) -> None:
    tokens.server.status, tokens.server.error = 400, error
    async with aclosing(store_of(strict_gcs_place, tokens.server.service_account())) as store:
        with pytest.raises(StorageDenied, match=match) as raised:
            await put(store, "key", b"content")
    text = "".join(traceback.format_exception(raised.value))
    assert "hidden" not in text
    assert "PRIVATE KEY" not in text


async def test_a_server_of_tokens_that_is_away_is_waited_for(strict_gcs_place: GcsPlace, tokens: Tokens) -> None:
    account = tokens.server.service_account() | {"token_uri": "http://127.0.0.1:1/token"}
    hasty = Limits(no_progress=1, give_up=0.3, backoff=0.02)
    async with aclosing(store_of(strict_gcs_place, account, hasty)) as store:
        with pytest.raises(StorageUnavailable, match="TransportError"):
            await put(store, "key", b"content")


@pytest.mark.parametrize(
    "token",
    [
        "google_default",
        "none.json",
        {"type": "service_account", "private_key": "hidden"},
        {"type": "unheard", "hidden": "hidden"},
        {"hidden": "hidden"},
    ],
    ids=str,
)
async def test_without_credentials_an_error_says_how_to_get_some(strict_gcs_place: GcsPlace, token: Any) -> None:
    async with aclosing(store_of(strict_gcs_place, token)) as store:
        with pytest.raises(StorageDenied, match=r"no Google credentials .*GOOGLE_APPLICATION_CREDENTIALS") as raised:
            await put(store, "key", b"content")
    assert "hidden" not in "".join(traceback.format_exception(raised.value))


async def test_a_missing_library_names_the_extra(strict_gcs_place: GcsPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth.exceptions", None)
    async with aclosing(store_of(strict_gcs_place, "google_default")) as store:
        with pytest.raises(MissingLibrary, match=r"inhaul\[gcs\]"):
            await put(store, "key", b"content")
    async with aclosing(store_of(strict_gcs_place, "anon")) as store:  # needs none
        assert await store.put_bytes(b"content", "key", hash_bytes(b"content")) == "etag"


async def test_workload_identity_lets_in(strict_gcs_place: GcsPlace, tokens: Tokens, tmp_path: Path) -> None:
    """A token of another provider, in a file, is exchanged for one of Google."""
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": tokens.server.url,
        "credential_source": {"file": str(write(tmp_path / "subject", "hidden"))},
    }
    async with aclosing(store_of(strict_gcs_place, info)) as store:
        assert await put(store, "key", b"content") == "etag"


def test_credentials_that_only_google_can_check_are_understood() -> None:
    user = {"type": "authorized_user", "client_id": "1", "client_secret": "hidden", "refresh_token": "hidden"}
    other = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        "test@test.iam.gserviceaccount.com:generateAccessToken",
        "source_credentials": user,
    }
    for token in (user, other, "cloud"):
        found = credentials.find(token, "gs://bucket", 1)
        assert repr(found) == "Tokens()"
        assert found.lender


async def test_a_server_without_encryption_gets_no_token_by_default(
    strict_gcs_place: GcsPlace, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "key.json", json.dumps(tokens.server.service_account()))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    strict_gcs_place.strict.tokens = None
    async with aclosing(store_of(strict_gcs_place, None)) as store:
        await put(store, "key", b"content")
    assert tokens.server.tokens == []
    assert not any("authorization" in call.request.headers for call in strict_gcs_place.strict.log)

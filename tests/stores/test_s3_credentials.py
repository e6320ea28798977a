"""Both clients of S3 use the credentials and the server that botocore finds."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.session import Session

from inhaul.errors import StorageDenied
from inhaul.stores.s3.account import Keys, find
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from places import QUICK, put
from s3_places import Place


async def use(store: S3Store) -> None:
    """Has both clients send requests: one stores, one lists and removes."""
    try:
        await put(store, "key", b"content")
        assert [one.key async for page in store.list() for one in page] == ["key"]
        await store.remove(["key"])
    finally:
        await store.aclose()


def profile(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch, *, minutes: float) -> Path:
    """Makes a profile with a program that gives credentials for some minutes. Returns its log, a byte for each call."""
    log, said = folder / "log", folder / "said.json"
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    given = {"AccessKeyId": place.server.options["key"], "SecretAccessKey": place.server.options["secret"]}
    said.write_text(json.dumps({"Version": 1, "Expiration": until.isoformat(), **given}))
    program = folder / "program.py"
    program.write_text(f"open({str(log)!r}, 'a').write('1'); print(open({str(said)!r}).read())")
    (folder / "config").write_text(f"[profile lab]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    return log


async def test_both_clients_share_the_credentials_of_a_program(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = profile(place, tmp_path, monkeypatch, minutes=60)
    await use(S3Store(place.address, {"profile": "lab"}, QUICK))
    assert log.read_text() == "1"


async def test_credentials_that_are_about_to_end_are_renewed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = profile(place, tmp_path, monkeypatch, minutes=5)
    await use(S3Store(place.address, {"profile": "lab"}, QUICK))
    assert len(log.read_text()) > 1


async def test_a_server_that_only_the_environment_names_is_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", place.address.endpoint_url or "")
    await use(S3Store(S3Address(place.address.bucket, place.address.prefix), place.server.options, QUICK))


@pytest.mark.parametrize(
    ("region", "server"),
    [
        ("eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_without_a_server_it_is_amazons_in_the_region(region: str, server: str) -> None:
    options = {"key": "key", "secret": "secret", "client_kwargs": {"region_name": region}}
    found = find(S3Address("bucket", "prefix"), options)
    assert (found.endpoint_url, found.region) == (server, region)


_FOUND_WITHOUT_BOTOCORE = [
    {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
    {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"},
    {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SECURITY_TOKEN": "d", "AWS_SESSION_TOKEN": "c"},
    {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1"},
]


@pytest.mark.parametrize("variables", _FOUND_WITHOUT_BOTOCORE)
def test_keys_in_the_environment_are_those_that_botocore_finds(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find(S3Address.parse("s3://bucket?endpoint_url=http://127.0.0.1:1"), {})
    session = Session()
    assert isinstance(found.credentials, Keys)
    assert found.credentials == session.get_credentials().get_frozen_credentials()[:3]
    assert found.region == (session.get_config_variable("region") or "us-east-1")


def test_a_profile_beside_keys_in_the_environment_gives_the_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _FOUND_WITHOUT_BOTOCORE[0].items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\nca_bundle = /certificates\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    found = find(S3Address.parse("s3://bucket?endpoint_url=http://127.0.0.1:1"), {})
    assert (found.credentials.access_key, found.region, found.way.verify) == ("a", "eu-north-1", "/certificates")


def test_a_profile_that_does_not_exist_is_refused_beside_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _FOUND_WITHOUT_BOTOCORE[0].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_PROFILE", "lab")
    with pytest.raises(StorageDenied, match="ProfileNotFound"):
        find(S3Address.parse("s3://bucket?endpoint_url=http://127.0.0.1:1"), {})

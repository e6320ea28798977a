"""How the address and the options of a storage on Azure are read."""

from typing import Any

import pytest
from upath import UPath

from inhaul.errors import StorageDenied, UnsupportedStorage
from inhaul.stores import schemes
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.options import account, adlfs, check_options
from inhaul.stores.schemes import as_text

ACCOUNT = "https://account.blob.core.windows.net"


@pytest.mark.parametrize(
    ("address", "expected", "canonical"),
    [
        ("az://container", AzureAddress("container", ""), "az://container"),
        ("az://container/a/b/", AzureAddress("container", "a/b"), "az://container/a/b"),
        ("abfs://container/a", AzureAddress("container", "a"), "az://container/a"),
        ("abfss://container/a", AzureAddress("container", "a"), "az://container/a"),
        ("az://$web/a", AzureAddress("$web", "a"), "az://$web/a"),
        (
            f"az://container/a?endpoint_url={ACCOUNT}/",
            AzureAddress("container", "a", ACCOUNT),
            f"az://container/a?endpoint_url={ACCOUNT}",
        ),
        (
            "abfss://container@account.dfs.core.windows.net/a/b",
            AzureAddress("container", "a/b", ACCOUNT),
            f"az://container/a/b?endpoint_url={ACCOUNT}",
        ),
        (
            "abfss://container@account.dfs.core.chinacloudapi.cn",
            AzureAddress("container", "", "https://account.blob.core.chinacloudapi.cn"),
            "az://container?endpoint_url=https://account.blob.core.chinacloudapi.cn",
        ),
    ],
)
def test_addresses_have_a_canonical_form(address: str, expected: AzureAddress, canonical: str) -> None:
    assert schemes.parse(address) == AzureAddress.parse(address) == expected
    assert str(expected) == schemes.checked_root(address) == canonical
    assert AzureAddress.parse(canonical) == expected
    assert schemes.type_of(address) == "az"


@pytest.mark.parametrize(
    "address",
    [
        "gs://container/a",
        "az://",
        "az:///a",
        "az://co",
        "az://Container",
        "az://a--b",
        "az://container/a//b",
        "az://container/../a",
        "az://container/.inhaul",
        "az://user:hidden@container/a",
        "abfss://user:hidden@account.dfs.core.windows.net/a",
        "abfss://hidden@account.dfs.example.com/a",
        "abfss://hidden@account.blob.core.windows.net/a",
        "abfss://hidden@account.dfs.core.windows.net.example.com/a",
        "abfss://container@account.dfs.core.windows.net/a?endpoint_url=https://hidden",
        "az://container?sig=hidden",
        "az://container?endpoint_url=ftp://host",
        "az://container?endpoint_url=http://user:hidden@host",
        "az://container?endpoint_url=http://host?sig=hidden",
        "az://container/a#hidden",
    ],
)
def test_what_is_no_address_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(UnsupportedStorage, match="az://container/prefix") as raised:
        AzureAddress.parse(address)
    assert "hidden" not in str(raised.value)
    assert "bucket" not in str(raised.value)


def test_an_object_may_be_named_with_its_account() -> None:
    assert AzureAddress.locate("abfss://container@account.dfs.core.windows.net/a?b") == AzureAddress(
        "container", "a?b", ACCOUNT
    )
    assert schemes.relative_key("abfs://container/a/b", f"az://container/a?endpoint_url={ACCOUNT}") == "b"
    assert schemes.relative_key("az://other/a/b", f"az://container/a?endpoint_url={ACCOUNT}") is None


@pytest.mark.parametrize("protocol", ["az", "abfs", "abfss"])
@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({}, None),
        ({"account_name": "account", "account_key": "aGlkZGVu"}, ACCOUNT),
        ({"account_name": "account", "account_host": "host.example.com"}, "https://host.example.com"),
        ({"connection_string": f"AccountKey=aGlkZGVu;blobEndpoint={ACCOUNT}/"}, ACCOUNT),
        ({"connection_string": "AccountName=account;AccountKey=aGlkZGVu"}, None),  # as in the paths of inhaul itself
    ],
)
def test_of_a_upath_only_the_account_is_kept(protocol: str, options: dict[str, str], endpoint: str | None) -> None:
    text = as_text(UPath(f"{protocol}://container/a b/c", **options))
    assert schemes.locate(text) == AzureAddress("container", "a b/c", endpoint)
    assert "aGlkZGVu" not in text


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, "colour: inhaul knows account_key"),
        ({"account_key": "hidden="}, "account_key must be in base64"),
        ({"account_key": "aGlkZGVu", "sas_token": "sig=hidden"}, "pass one of account_key and sas_token"),
        ({"account_name": ""}, "account_name must be a text"),
        ({"account_name": 7}, "account_name must be a text"),
        ({"credential": "hidden"}, "credential must be one of azure-identity"),
        ({"connection_string": "hidden"}, "connection_string must name an account"),
        ({"connection_string": "AccountKey=aGlkZGVu"}, "connection_string must name an account"),
        ({"connection_string": "AccountName=a;AccountKey=hidden"}, "AccountKey in connection_string"),
        ({"connection_string": "AccountName=a", "account_name": "a"}, "leave out account_name"),
    ],
)
def test_an_option_that_is_not_valid_is_refused_and_not_shown(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        check_options(options)
    assert "hidden" not in str(raised.value)
    assert "aGlkZGVu" not in str(raised.value)


KEY, OTHER_KEY = "a2V5", "b3RoZXI="
TEXT = f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.windows.net"


@pytest.mark.parametrize(
    ("endpoint", "options", "environment", "expected"),
    [
        (None, {"account_name": "account", "account_key": KEY}, {}, (ACCOUNT, "account", KEY, None)),
        (None, {"account_name": "account", "sas_token": "?sig=x"}, {}, (ACCOUNT, "account", None, "sig=x")),
        (None, {"connection_string": TEXT}, {}, (ACCOUNT, "account", KEY, None)),
        (None, {}, {"CONNECTION_STRING": TEXT}, (ACCOUNT, "account", KEY, None)),
        (None, {}, {"ACCOUNT_NAME": "account", "ACCOUNT_KEY": KEY}, (ACCOUNT, "account", KEY, None)),
        (None, {"account_name": "account"}, {"ACCOUNT_KEY": KEY}, (ACCOUNT, "account", KEY, None)),
        (None, {}, {"ACCOUNT_NAME": "account", "SAS_TOKEN": "sig=x"}, (ACCOUNT, "account", None, "sig=x")),
        (None, {}, {"ACCOUNT_NAME": "account"}, (ACCOUNT, "account", None, None)),
        (ACCOUNT, {"account_key": KEY}, {}, (ACCOUNT, "account", KEY, None)),
        (ACCOUNT, {}, {}, (ACCOUNT, "account", None, None)),
        # the environment is about another account
        (ACCOUNT, {}, {"ACCOUNT_NAME": "other", "ACCOUNT_KEY": OTHER_KEY}, (ACCOUNT, "account", None, None)),
        (None, {"account_name": "account"}, {"CONNECTION_STRING": TEXT.replace("account", "other")}, None),
        # options come first
        (
            None,
            {"account_name": "account", "account_key": KEY},
            {"CONNECTION_STRING": TEXT.replace(KEY, OTHER_KEY)},
            None,
        ),
        (
            "http://127.0.0.1:10000/account",
            {"connection_string": TEXT},
            {},
            ("http://127.0.0.1:10000/account", "account", KEY, None),
        ),
        (
            "https://blobs.example.com",
            {"account_name": "account", "account_key": KEY},
            {},
            ("https://blobs.example.com", "account", KEY, None),
        ),
    ],
)
def test_the_account_is_found(
    endpoint: str | None,
    options: dict[str, Any],
    environment: dict[str, str],
    expected: tuple[str, str, str | None, str | None] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
    found = account(AzureAddress("container", "", endpoint), options)
    if expected is None:
        expected = (ACCOUNT, "account", options.get("account_key"), None)
    assert (found.endpoint_url, found.name, found.key, found.sas_token) == expected
    assert KEY not in repr(found)
    assert "sig=x" not in repr(found)


def test_an_account_that_is_not_named_or_another_one_is_an_error() -> None:
    with pytest.raises(StorageDenied, match="no account is named for az://container: pass account_name"):
        account(AzureAddress("container", ""), {})
    with pytest.raises(StorageDenied, match="'other', which is not that of"):
        account(AzureAddress("container", "", ACCOUNT), {"account_name": "other", "account_key": KEY})
    with pytest.raises(StorageDenied, match="account_key needs account_name"):
        account(AzureAddress("container", "", "https://blobs.example.com"), {"account_key": KEY})


@pytest.mark.parametrize(
    ("endpoint", "options", "expected"),
    [
        (None, {}, {}),
        (
            None,
            {"account_name": "account", "account_key": KEY},
            {"connection_string": f"AccountName=account;AccountKey={KEY}"},
        ),
        (
            "http://127.0.0.1:1/account",
            {"sas_token": "sig=x"},
            {
                "connection_string": "AccountName=account;BlobEndpoint=http://127.0.0.1:1/account;"
                "SharedAccessSignature=sig=x"
            },
        ),
        (ACCOUNT, {}, {"account_name": "account", "account_host": "account.blob.core.windows.net"}),
    ],
)
def test_adlfs_gets_what_it_knows(endpoint: str | None, options: dict[str, Any], expected: dict[str, str]) -> None:
    assert adlfs(AzureAddress("container", "", endpoint), options) == {"use_listings_cache": False, **expected}

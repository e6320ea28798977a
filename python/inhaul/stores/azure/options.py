"""The options of a storage on Azure, and the account that they and the environment mean."""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from inhaul.errors import StorageDenied
from inhaul.stores.azure.address import AzureAddress

_OPTIONS = ("account_key", "account_name", "connection_string", "credential", "endpoint_url", "sas_token")
_SECRETS = ("connection_string", "account_key", "sas_token", "credential")
_BLOB_ENDPOINT = "BLOBENDPOINT"
_CLOUD = "core.windows.net"


@dataclass(frozen=True, slots=True)
class Account:
    """An account, and the way to sign requests to it: with one of the secrets, or else with the tokens of the machine.

    Attributes:
        endpoint_url: Its address.
        name: Its name; None if it is not known.
        key: Its key, in base64.
        sas_token: A shared access signature, without a question mark.
        credential: A credential of azure-identity.
    """

    endpoint_url: str
    name: str | None
    key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    credential: Any = field(default=None, repr=False)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that would have no effect, or that are not valid. The errors quote no secrets.

    Raises:
        ValueError: There is such an option.
    """
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ValueError(f"storage_options {', '.join(unknown)}: inhaul knows {', '.join(_OPTIONS)}")
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name != "credential" and not (isinstance(value, str) and value):
            raise ValueError(f"storage_options: {name} must be a text that is not empty")
    secrets = [name for name in _SECRETS if name in given]
    if len(secrets) > 1:
        raise ValueError(f"storage_options: pass one of {' and '.join(secrets)}")
    if "connection_string" in given:
        if useless := sorted({"account_name", "endpoint_url"} & given.keys()):
            raise ValueError(f"storage_options: connection_string names the account: leave out {' and '.join(useless)}")
        settings = _settings(given["connection_string"])
        if settings is None or not (settings.get("ACCOUNTNAME") or settings.get(_BLOB_ENDPOINT)):
            raise ValueError("storage_options: connection_string must name an account, as in AccountName=...;")
        _check_key(settings.get("ACCOUNTKEY"), "the AccountKey in connection_string")
    _check_key(given.get("account_key"), "account_key")
    if "credential" in given and not callable(getattr(given["credential"], "get_token", None)):
        raise ValueError(
            "storage_options: credential must be one of azure-identity; pass a key as account_key, a SAS as sas_token"
        )


def _check_key(key: str | None, name: str) -> None:
    try:
        base64.b64decode(key or "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"storage_options: {name} must be in base64, as the portal shows it") from None


def account(address: AzureAddress, options: Mapping[str, Any]) -> Account:
    """Returns the account of a storage: that of its address, else of its options, else of the environment.

    The environment is read only without a secret in the options. What it says about another account is ignored.

    Raises:
        StorageDenied: No account is named, or the options are for another one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    ours = _of_options(given)
    wanted = address.endpoint_url or given.get("endpoint_url")
    if not _is_for(ours, wanted):
        raise StorageDenied(f"the storage_options are for the account {ours.name!r}, which is not that of {address}")
    if not any(name in given for name in _SECRETS):
        theirs = _of_environment()
        if _is_for(theirs, wanted) and (ours.name is None or theirs.name in (None, ours.name)):
            ours = replace(theirs, endpoint_url=theirs.endpoint_url or ours.endpoint_url, name=theirs.name or ours.name)
    endpoint = wanted or ours.endpoint_url
    if not endpoint:
        raise StorageDenied(
            f"no account is named for {address}: pass account_name in storage_options, or set "
            f"AZURE_STORAGE_ACCOUNT_NAME; or {address.form}"
        )
    name = ours.name or account_in(endpoint)
    if ours.key and not name:
        raise StorageDenied(f"account_key needs account_name for {address}: pass it in storage_options")
    return Account(endpoint, name, ours.key, ours.sas_token, ours.credential)


def account_in(endpoint: str) -> str | None:
    """Returns the name of the account in an address; None for a domain of its own."""
    url = urlsplit(endpoint)
    host, path = url.hostname or "", url.path.strip("/")
    if ".blob." in host:
        return host.partition(".")[0]
    return path.partition("/")[0] or None if path and _is_machine(host) else None


def _is_machine(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _is_for(ours: Account, endpoint: str | None) -> bool:
    theirs = account_in(endpoint) if endpoint else None
    return ours.name is None or theirs in (None, ours.name)


def _of_options(given: Mapping[str, Any]) -> Account:
    if text := given.get("connection_string"):
        return _of_text(text)
    name = given.get("account_name")
    sas = given.get("sas_token")
    return Account(
        given.get("endpoint_url") or (f"https://{name}.blob.{_CLOUD}" if name else ""),
        name,
        given.get("account_key"),
        sas.lstrip("?") if sas else None,
        given.get("credential"),
    )


def _of_environment() -> Account:
    names = ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN")
    text, name, key, sas = (os.environ.get(f"AZURE_STORAGE_{one}") or None for one in names)
    if text:
        return _of_text(text)
    return _of_options({"account_name": name, "account_key": key, "sas_token": None if key else sas})


def _of_text(connection_string: str) -> Account:
    settings = _settings(connection_string) or {}
    name = settings.get("ACCOUNTNAME")
    cloud, protocol = settings.get("ENDPOINTSUFFIX", _CLOUD), settings.get("DEFAULTENDPOINTSPROTOCOL", "https")
    endpoint = settings.get(_BLOB_ENDPOINT) or (f"{protocol}://{name}.blob.{cloud}" if name else "")
    sas = settings.get("SHAREDACCESSSIGNATURE")
    endpoint = endpoint.rstrip("/")
    return Account(endpoint, name or account_in(endpoint), settings.get("ACCOUNTKEY"), sas.lstrip("?") if sas else None)


def _settings(connection_string: str) -> dict[str, str] | None:
    pairs = [part.partition("=") for part in connection_string.strip().rstrip(";").split(";")]
    if not all(name and mark for name, mark, _ in pairs):
        return None
    return {name.strip().upper(): value.strip() for name, _, value in pairs}


def endpoint_of(options: Mapping[str, Any]) -> str | None:
    """Returns the endpoint that options of adlfs name."""
    if endpoint := options.get("endpoint_url"):
        return str(endpoint)
    if text := options.get("connection_string"):
        endpoint = (_settings(text) or {}).get(_BLOB_ENDPOINT)
        return endpoint.rstrip("/") if endpoint else None
    name = options.get("account_name")
    host = options.get("account_host") or (f"{name}.blob.{_CLOUD}" if name else None)
    return f"https://{host}" if host else None


def adlfs(address: AzureAddress, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the storage options for adlfs. Without an account, adlfs looks for one itself."""
    # A listed object may be deleted a moment later by another client.
    found: dict[str, Any] = {"use_listings_cache": False}
    try:
        ours = account(address, options)
    except StorageDenied:
        return found
    if ours.key or ours.sas_token:
        # The only way to name any endpoint.
        named = [f"AccountName={ours.name}"] if ours.name else []
        if address.endpoint_url or ours.endpoint_url != f"https://{ours.name}.blob.{_CLOUD}":
            named.append(f"BlobEndpoint={ours.endpoint_url}")
        secret = f"AccountKey={ours.key}" if ours.key else f"SharedAccessSignature={ours.sas_token}"
        return {**found, "connection_string": ";".join((*named, secret))}
    url = urlsplit(ours.endpoint_url)
    found |= {"account_name": ours.name or url.hostname, "account_host": url.netloc}
    return found if ours.credential is None else {**found, "credential": ours.credential}

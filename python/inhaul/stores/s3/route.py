"""The connection settings of a storage on S3: certificates, proxies, the form of addresses.

Three clients send requests: aiobotocore, obstore and, for paths that users open, s3fs. Each would read the environment
by its own rules. So it is read once here, and each client gets the complete result.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inhaul.errors import StorageUnavailable
from inhaul.stores.s3.address import S3Address

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_CLIENT_KWARGS = ("endpoint_url", "region_name", "verify")
_CONFIG_KWARGS = ("proxies", "proxies_config", "region_name", "s3", "signature_version")
_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_STYLES = ("auto", "path", "virtual")


@dataclass(frozen=True, slots=True)
class Route:
    """The connection settings that all clients of a storage share.

    Attributes:
        endpoint_url: The server; None for Amazon's in the region.
        region: The region; None if it is not known.
        style: The place of the bucket in an address: `path`, `virtual` (in the name of the host) or `auto`.
        verify: The file with trusted certificates; True for the usual ones, False for no check.
        proxy: The proxy for requests; None for none.
        proxy_ca: The file with trusted certificates for the proxy.
        requester_pays: Whether the account that sends a request pays.
    """

    endpoint_url: str | None
    region: str | None
    style: str
    verify: bool | str
    proxy: str | None
    proxy_ca: str | None
    requester_pays: bool

    def config(self) -> dict[str, Any]:
        """Returns the arguments for botocore's `Config`."""
        return {
            "proxies": {"http": self.proxy, "https": self.proxy} if self.proxy else {},
            "proxies_config": {"proxy_ca_bundle": self.proxy_ca} if self.proxy_ca else {},
            "s3": {"addressing_style": self.style, "payload_signing_enabled": False},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }

    def client_options(self) -> "ClientConfig":
        """Returns the options for obstore. Blocks: it reads certificates.

        Raises:
            StorageUnavailable: A file of certificates cannot be read.
        """
        # Without a proxy, obstore would look for one itself. A proxy that is excluded for all hosts prevents that.
        options: ClientConfig = {
            "allow_invalid_certificates": self.verify is False,
            "proxy_url": self.proxy or "http://127.0.0.1:9",
            "proxy_excludes": "" if self.proxy else "*,0.0.0.0/0,::/0",
        }
        if isinstance(self.verify, str):
            options["root_certificate"] = _certificates(self.verify)
        if self.proxy and self.proxy_ca:
            options["proxy_ca_certificate"] = _certificates(self.proxy_ca)
        return options

    def s3fs(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the storage options for s3fs: the given ones, and those that all clients share."""
        client = {"verify": self.verify, **({"region_name": self.region} if self.region else {})}
        found = {
            **options,
            "client_kwargs": client,
            "config_kwargs": self.config(),
            # A listed object may be deleted a moment later by another client.
            "use_listings_cache": False,
        }
        return found if self.endpoint_url is None else {**found, "endpoint_url": self.endpoint_url}


def check(options: Mapping[str, Any]) -> None:
    """Refuses options that would not reach every client.

    Raises:
        ValueError: There is such an option.
    """
    client, config = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}
    _known("client_kwargs", client, _CLIENT_KWARGS)
    _known("config_kwargs", config, _CONFIG_KWARGS)
    _known("config_kwargs s3", config.get("s3") or {}, ("addressing_style",))
    _known("config_kwargs proxies_config", config.get("proxies_config") or {}, ("proxy_ca_bundle",))
    if (style := (config.get("s3") or {}).get("addressing_style", "auto")) not in _STYLES:
        raise ValueError(f"storage_options: addressing_style={style!r} is not one of {', '.join(_STYLES)}")
    if config.get("signature_version", "s3v4") != "s3v4":
        raise ValueError("storage_options: signature_version can only be 's3v4'; for no signature pass anon=True")
    for file in (client.get("verify"), (config.get("proxies_config") or {}).get("proxy_ca_bundle")):
        if not isinstance(file, bool | str | os.PathLike | None):
            raise ValueError(f"storage_options: {file!r} must be the path of a file with certificates")
    for proxy in (config.get("proxies") or {}).values():
        _check_proxy(proxy, "storage_options: the proxy")


def _known(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(
            f"storage_options: {name} {', '.join(unknown)} would not reach every client: use {', '.join(known)}"
        )


def _check_proxy(proxy: str, name: str) -> str:
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if url.scheme not in ("http", "https") or not url.hostname:
        # The address may hold a password.
        raise ValueError(f"{name} must be the http(s) address of a proxy, not a {url.scheme}:// address")
    return url.geturl()


def route(address: S3Address, options: Mapping[str, Any]) -> Route:
    """Returns the connection settings of a storage, from its options, the environment and the profile.

    Raises:
        StorageUnavailable: The environment names a proxy that cannot be used.
    """
    client, config = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}
    endpoint = address.endpoint_url or options.get("endpoint_url") or client.get("endpoint_url")
    server = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    proxies = config.get("proxies")
    proxy = _from_environment(server or "https://s3.amazonaws.com") if proxies is None else None
    if proxies and (given := proxies.get(urlsplit(server or "https:").scheme)):
        proxy = _check_proxy(given, "storage_options: the proxy")
    ca = (config.get("proxies_config") or {}).get("proxy_ca_bundle")
    return Route(
        endpoint,
        client.get("region_name") or config.get("region_name"),
        (config.get("s3") or {}).get("addressing_style") or ("path" if server else "auto"),
        _verify(client.get("verify"), options.get("profile")),
        proxy,
        os.fspath(ca) if ca else None,
        bool(options.get("requester_pays")),
    )


def _verify(given: Any, profile: str | None) -> bool | str:
    if given is None:
        first, *others = (os.environ.get(name) for name in _BUNDLES)
        if not first and has_profiles():
            first = _of_profile(profile, os.environ.get("AWS_PROFILE"), os.environ.get("AWS_CONFIG_FILE"))
        given = first or next(filter(None, others), True)
    return given if isinstance(given, bool) else os.fspath(given)


def has_profiles() -> bool:
    """Returns True if there is a file of profiles where botocore looks for one."""
    config = os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")
    credentials = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    # As botocore does it: a user without a home has no such file.
    paths = [os.path.expanduser(os.path.expandvars(file)) for file in (config, credentials)]  # noqa: PTH111
    return any(path != os.devnull and os.path.exists(path) for path in paths)  # noqa: PTH110


@cache
def _of_profile(profile: str | None, _default: str | None, _file: str | None) -> str | None:
    """Returns the file of certificates that a profile names. It is read once, since every path needs it."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        found: str | None = Session(profile=profile).get_config_variable("ca_bundle")
    except BotoCoreError:  # no such profile: opening the clients will raise that
        return None
    return os.path.expanduser(found) if found else None  # noqa: PTH111 - botocore also reads it as a text


def _certificates(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")  # comments in the file may not be UTF-8
    except OSError as error:
        raise StorageUnavailable(
            f"the certificates to trust cannot be read from {file!r} ({error.strerror}): correct {_BUNDLES[0]}, "
            "the ca_bundle of the profile, or storage_options"
        ) from None


def _from_environment(server: str) -> str | None:
    """Returns the proxy for a server, by the variables that most programs use."""
    url = urlsplit(server)

    def variable(name: str) -> str:
        return os.environ.get(name) or os.environ.get(name.upper()) or ""

    name = f"{url.scheme}_proxy" if variable(f"{url.scheme}_proxy") else "all_proxy"
    proxy = variable(name)
    if not proxy or _is_excluded(url.hostname or "", url.port, variable("no_proxy")):
        return None
    try:
        return _check_proxy(proxy, name.upper())
    except ValueError as error:
        raise StorageUnavailable(f"{error}. To go without it, list {url.hostname} in NO_PROXY") from None


def _is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    """Returns True if a host needs no proxy: by name, suffix, address, network or `*`."""
    for entry in no_proxy.replace(",", " ").lower().split():
        name, _, only = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if only and only != str(port):
            continue
        name = name.removeprefix("*.").removeprefix(".")
        if name in ("*", host) or host.endswith(f".{name}"):
            return True
        try:
            if ip_address(host) in ip_network(name.strip("[]"), strict=False):
                return True
        except ValueError:  # one of them is not an address
            continue
    return False

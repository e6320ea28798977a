"""The account that sends requests to a bucket of S3, and the server that gets them, as botocore finds them."""

import asyncio
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Self

from inhaul.errors import StorageDenied
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.route import Route, has_profiles, route

_TOKENS = ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")  # the first one that is set counts
_MORE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION")  # variables that only botocore understands


class Keys(NamedTuple):
    """Credentials that stay as they are, in the form of botocore's."""

    access_key: str
    secret_key: str
    token: str | None

    def get_frozen_credentials(self) -> Self:
        """Returns the credentials."""
        return self


class Account(NamedTuple):
    """The credentials for a bucket, its server, and the way there.

    Attributes:
        bucket: The bucket.
        credentials: botocore's credentials, which it renews; None for requests without a signature.
        endpoint_url: The server.
        region: Its region.
        profile: The profile that the user chose; None for the usual one.
        use_ssl: Whether Amazon's server is asked by HTTPS.
        way: The connection settings.
    """

    bucket: str
    credentials: Any
    endpoint_url: str
    region: str
    profile: str | None
    use_ssl: bool
    way: Route

    async def frozen(self) -> Any:
        """Returns the credentials of this moment; None for none."""
        if self.credentials is None:
            return None
        refresh_needed = getattr(self.credentials, "refresh_needed", None)
        if refresh_needed is not None and refresh_needed():  # this may send requests
            return await asyncio.to_thread(self.credentials.get_frozen_credentials)
        return self.credentials.get_frozen_credentials()


def find(address: S3Address, options: Mapping[str, Any]) -> Account:
    """Finds the credentials and the server. Blocks: this reads files, and may fetch tokens.

    Raises:
        StorageDenied: There are no credentials.
        StorageUnavailable: The environment names a proxy that cannot be used.
    """
    way, profile, use_ssl = route(address, options), options.get("profile"), options.get("use_ssl", True)
    if (keys := _keys(options)) is not None and way.endpoint_url is not None:
        region = way.region or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return Account(address.bucket, keys, way.endpoint_url, region, None, use_ssl, way)

    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session(profile=profile)
        if options.get("key"):
            session.set_credentials(options["key"], options["secret"], options.get("token"))
        credentials = None if options.get("anon") else session.get_credentials()
        if credentials is None and not options.get("anon"):
            raise StorageDenied(
                f"no AWS credentials for {address}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile, "
                "or pass storage_options"
            )
        endpoint_url, region = way.endpoint_url, way.region or session.get_config_variable("region") or "us-east-1"
        if endpoint_url is None:
            endpoint_url, region = _configured(session, way, region, anonymous=credentials is None, use_ssl=use_ssl)
    except BotoCoreError as error:
        # Its text may quote a profile or a reply of a token server.
        raise StorageDenied(f"no AWS credentials for {address}: {type(error).__name__}") from None
    return Account(address.bucket, credentials, endpoint_url, region, profile, use_ssl, way)


def _keys(options: Mapping[str, Any]) -> Keys | None:
    """Returns the keys in the options or in the environment, if they are all that botocore would find.

    To import botocore, and to ask it, takes a fifth of the time of a short job.
    """
    if options.get("profile") or options.get("anon") or any(map(os.environ.get, _MORE)) or has_profiles():
        return None
    if options.get("key"):
        return Keys(options["key"], options["secret"], options.get("token"))
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    token = next((os.environ[name] for name in _TOKENS if name in os.environ), None)
    return Keys(key, secret, token) if key and secret else None


def _configured(session: Any, way: Route, region: str, *, anonymous: bool, use_ssl: bool) -> tuple[str, str]:
    """Returns the server that the environment or the profile names, else that of Amazon, and its region."""
    from botocore import UNSIGNED
    from botocore.config import Config

    session.register_component("data_loader", descriptions(session.get_config_variable("data_path")))
    config = Config(signature_version=UNSIGNED if anonymous else None, **way.config())
    client = session.create_client("s3", region_name=region, verify=way.verify, use_ssl=use_ssl, config=config)
    try:
        return client.meta.endpoint_url, client.meta.region_name
    finally:
        client.close()


@cache
def descriptions(data_path: str | None) -> Any:
    """Returns the descriptions of the service, read only once: that takes most of the time to make a client."""
    from botocore.loaders import create_loader

    return create_loader(data_path)

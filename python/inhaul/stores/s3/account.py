"""The account that sends requests to a bucket of S3, and the server that gets them, as botocore finds them."""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from inhaul.errors import StorageDenied
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.route import Route, route


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
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    way, profile, use_ssl = route(address, options), options.get("profile"), options.get("use_ssl", True)
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

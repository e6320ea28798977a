"""The two clients of S3: aiobotocore, which finds the credentials, and obstore, which gets them from aiobotocore.

aiobotocore looks up, lists and deletes objects, and uploads in parts. obstore sends and fetches whole objects with a
quarter of the CPU time.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from inhaul.errors import StorageDenied
from inhaul.hashing.etags import from_etag
from inhaul.stores.base import Stat
from inhaul.stores.remote.clients import Body, Found
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.obstore_reads import REST, ObstoreReads, rest_at_exit
from inhaul.stores.remote.writes import WRITE_ID
from inhaul.stores.s3 import route
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.route import Route
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from obstore.store import S3Credential
    from obstore.store import S3Store as ObjectStore

_OPTIONS = (
    *("anon", "client_kwargs", "config_kwargs", "endpoint_url", "key", "profile"),
    *("requester_pays", "secret", "token", "use_ssl"),
)
_LEAVE = 1.0  # seconds that a cancelled call waits while credentials are fetched
_BORROWED = timedelta(minutes=6)  # obstore asks again five minutes before credentials end, so each minute


class Clients(ObstoreReads):
    """Both clients of one bucket, for one event loop; see `remote.clients.Clients`.

    Attributes:
        bucket: The bucket.
        s3: aiobotocore's client.
        objects: obstore's store; its paths are whole keys.
    """

    def __init__(self, address: S3Address, s3: Any, credentials: Any, limits: Limits, way: Route) -> None:
        self.bucket = address.bucket
        self.s3 = s3
        self.objects = _objects(address, s3, credentials, limits, way)
        self._address = address
        self._credentials = credentials
        self._limits = limits
        self._way = way

    async def reader(self) -> "ObjectStore":
        """See `remote.clients.Clients`."""
        credentials = await self._credentials.get_frozen_credentials() if self._credentials else None
        return await asyncio.to_thread(
            lambda: _objects(self._address, self.s3, credentials, self._limits, self._way, lasting=True)
        )

    @asynccontextmanager
    async def whole(self, key: str, etag: str | None) -> AsyncIterator[Body]:
        """See `remote.clients.Clients`. obstore would limit the time of the reply."""
        condition = {"IfMatch": etag} if etag is not None else {}
        reply = await self.s3.get_object(Bucket=self.bucket, Key=key, **condition)
        async with reply["Body"] as body:
            yield Body(reply["ContentLength"], reply.get("ETag"), body.read)

    async def look(self, key: str) -> Found:
        """See `remote.clients.Clients`."""
        from obstore import get_async

        reply = await get_async(self.objects, key, options={"head": True})
        stat = stat_of(reply.meta["size"], reply.meta["e_tag"], reply.meta["last_modified"])
        return Found(stat, reply.attributes.get(WRITE_ID))

    async def delete(self, key: str, only: Found | None = None) -> None:
        """See `remote.clients.Clients`. Few servers know a condition for deletes."""
        await self.s3.delete_object(Bucket=self.bucket, Key=key)

    @classmethod
    async def open(cls, address: S3Address, options: Mapping[str, Any], limits: Limits) -> "Clients":
        """Finds the credentials and creates the clients. Sends no request to the bucket.

        Raises:
            StorageDenied: There are no credentials.
            ValueError: An option is unknown.
        """
        return await to_the_end(asyncio.to_thread(_make, address, options, limits), cls.aclose, within=_LEAVE)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.s3.close()
        del self.objects  # closes its connections, even if `self` is still referred to
        await asyncio.sleep(REST)


def stat_of(size: int, etag: str | None, modified: datetime) -> Stat:
    """Returns the metadata of an object, with its digest by its ETag."""
    etag = tag(etag)
    return Stat(size, etag, modified.astimezone(UTC), from_etag(etag, size) if etag is not None else None)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that would have no effect.

    Raises:
        ValueError: There is such an option.
    """
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ValueError(f"storage_options {', '.join(unknown)}: inhaul knows {', '.join(_OPTIONS)}")
    if bool(options.get("key")) != bool(options.get("secret")):
        raise ValueError("storage_options: key and secret go together")
    if options.get("token") and not options.get("key"):
        raise ValueError("storage_options: token has no effect without key and secret")
    route.check(options)


def _make(address: S3Address, options: Mapping[str, Any], limits: Limits) -> Clients:
    """Creates the clients in a thread with its own loop: this reads files and may fetch tokens."""
    return asyncio.run(_make_async(address, options, limits))


async def _make_async(address: S3Address, options: Mapping[str, Any], limits: Limits) -> Clients:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from botocore import UNSIGNED
    from botocore.exceptions import BotoCoreError
    from botocore.handlers import add_expect_header

    anonymous = bool(options.get("anon"))
    way = route.route(address, options)
    try:
        session = AioSession(profile=options.get("profile"))
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        if options.get("key"):
            session.set_credentials(options["key"], options["secret"], options.get("token"))
        config = AioConfig(
            max_pool_connections=limits.requests,
            connect_timeout=10,
            read_timeout=limits.no_progress,
            retries={"total_max_attempts": 1},
            signature_version=UNSIGNED if anonymous else None,
            **way.config(),
        )
        credentials = None if anonymous else await session.get_credentials()
        if credentials is None and not anonymous:
            raise StorageDenied(
                f"no AWS credentials for {address}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile, "
                "or pass storage_options"
            )
        client = await AsyncExitStack().enter_async_context(
            session.create_client(
                "s3",
                endpoint_url=way.endpoint_url,
                region_name=way.region or session.get_config_variable("region") or "us-east-1",
                verify=way.verify,
                use_ssl=options.get("use_ssl", True),
                config=config,
            )
        )
        # Without this, each part would wait for a "100 Continue" before its body is sent.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        if way.requester_pays:
            client.meta.events.register("before-call.s3", _pay)
    except BotoCoreError as error:
        # Its text may quote a profile or a reply of a token server.
        raise StorageDenied(f"no AWS credentials for {address}: {type(error).__name__}") from None
    return Clients(address, client, credentials, limits, way)


def _pay(params: Any, **_: Any) -> None:
    """Adds to every request that the requester pays."""
    params["headers"]["x-amz-request-payer"] = "requester"


@cache
def _descriptions(data_path: str | None) -> Any:
    """Returns the descriptions of the service, read only once: that takes most of the time to create a client."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _objects(
    address: S3Address, client: Any, credentials: Any, limits: Limits, way: Route, *, lasting: bool = False
) -> "ObjectStore":
    """Returns an obstore. A lasting one keeps its credentials and retries requests. Blocks: it reads certificates."""
    from obstore.store import S3Store

    rest_at_exit()

    async def borrow() -> "S3Credential":
        now = await credentials.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _BORROWED,
        }

    def lend() -> "S3Credential":
        return {
            "access_key_id": credentials.access_key,
            "secret_access_key": credentials.secret_key,
            "token": credentials.token,
            "expires_at": None,
        }

    endpoint = client.meta.endpoint_url
    is_virtual = way.style == "virtual"
    if is_virtual:
        endpoint = endpoint.replace("://", f"://{address.bucket}.", 1)
    provider = lend if lasting else borrow
    return S3Store(
        address.bucket,
        # Both, as obstore also looks into the environment.
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=client.meta.region_name,
        virtual_hosted_style_request=is_virtual,
        checksum_algorithm="SHA256",
        conditional_put="etag",
        request_payer=way.requester_pays,
        skip_signature=credentials is None,
        credential_provider=None if credentials is None else provider,
        client_options={
            **way.client_options(),
            "allow_http": endpoint.startswith("http:"),
            "connect_timeout": timedelta(seconds=min(10.0, limits.no_progress)),
            # For a whole small object. It gets at least 150 kB/s: the limiter sends fewer requests if they are slow.
            "timeout": timedelta(seconds=limits.no_progress),
        },
        retry_config=None if lasting else {"max_retries": 0, "retry_timeout": timedelta(0)},
    )

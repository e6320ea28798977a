"""The two clients of S3: obstore and aiobotocore. Both get the credentials that botocore finds.

obstore sends and fetches whole objects, with a quarter of the CPU time. aiobotocore lists and deletes objects, and
uploads in parts; it is made when the first such request needs it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inhaul.hashing.etags import from_etag
from inhaul.stores.base import Stat
from inhaul.stores.remote.clients import Body, Found
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.obstore_reads import REST, ObstoreReads, rest_at_exit
from inhaul.stores.remote.writes import WRITE_ID
from inhaul.stores.s3 import account, route
from inhaul.stores.s3.account import Account
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.later import LaterClient
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

    def __init__(self, found: Account, limits: Limits) -> None:
        self.bucket = found.bucket
        self.s3: Any = LaterClient(found, limits)
        self.objects = _objects(found, limits)
        self._account = found
        self._limits = limits

    async def reader(self) -> "ObjectStore":
        """See `remote.clients.Clients`."""
        frozen = await self._account.frozen()
        return await asyncio.to_thread(lambda: _objects(self._account, self._limits, frozen, lasting=True))

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
        """Finds the credentials and makes the clients. Sends no request to the bucket.

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
    """Finds the credentials and the server, in a thread: this reads files and may fetch tokens."""
    return Clients(account.find(address, options), limits)


def _objects(found: Account, limits: Limits, frozen: Any = None, *, lasting: bool = False) -> "ObjectStore":
    """Returns an obstore. Blocks: it reads certificates.

    Args:
        found: The account and its server.
        limits: The limits on requests.
        frozen: The credentials of a lasting one.
        lasting: Whether it keeps its credentials and retries requests.
    """
    from obstore.store import S3Store

    rest_at_exit()

    async def borrow() -> "S3Credential":
        return _lent(await found.frozen(), datetime.now(UTC) + _BORROWED)

    def lend() -> "S3Credential":
        return _lent(frozen, None)

    endpoint = found.endpoint_url
    is_virtual = found.way.style == "virtual"
    if is_virtual:
        endpoint = endpoint.replace("://", f"://{found.bucket}.", 1)
    provider = lend if lasting else borrow
    return S3Store(
        found.bucket,
        # Both, as obstore also looks into the environment.
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=found.region,
        virtual_hosted_style_request=is_virtual,
        checksum_algorithm="SHA256",
        conditional_put="etag",
        request_payer=found.way.requester_pays,
        skip_signature=found.credentials is None,
        credential_provider=None if found.credentials is None else provider,
        client_options={
            **found.way.client_options(),
            "allow_http": endpoint.startswith("http:"),
            "connect_timeout": timedelta(seconds=min(10.0, limits.no_progress)),
            # For a whole small object. It gets at least 150 kB/s: the limiter sends fewer requests if they are slow.
            "timeout": timedelta(seconds=limits.no_progress),
        },
        retry_config=None if lasting else {"max_retries": 0, "retry_timeout": timedelta(0)},
    )


def _lent(frozen: Any, expires_at: datetime | None) -> "S3Credential":
    return {
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
        "token": frozen.token,
        "expires_at": expires_at,
    }

"""The clients of Azure Blob Storage: azure-storage-blob, obstore for reads, and our own for puts.

azure-storage-blob looks up, lists and deletes blobs, and commits blocks. obstore reads with a fraction of the CPU time.
It sends no MD5, so `Puts` sends content: with a third of the CPU time of azure-storage-blob.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.errors import MissingLibrary, StorageDenied, StorageUnavailable
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.described import found_in, is_folder
from inhaul.stores.azure.faults import Folder
from inhaul.stores.azure.options import Account, account
from inhaul.stores.azure.puts import Puts
from inhaul.stores.azure.tokens import Tokens
from inhaul.stores.remote.clients import Body, Found
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.obstore_reads import REST, ObstoreReads, rest_at_exit
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, ContainerClient
    from obstore.store import AzureStore, ClientConfig

_LEAVE = 1.0  # seconds that a cancelled call waits while credentials are fetched
_BORROWED = timedelta(minutes=6)  # obstore asks again five minutes before a token ends, so each minute
_UNLIMITED = timedelta(days=365)


class Clients(ObstoreReads):
    """The clients of one container, for one event loop; see `remote.clients.Clients`.

    Attributes:
        container: azure-storage-blob's client.
        objects: obstore's store; its paths are whole keys.
        puts: Sends blobs and blocks.
    """

    def __init__(
        self, address: AzureAddress, account: Account, tokens: Tokens | None, puts: Puts, limits: Limits
    ) -> None:
        self._address = address
        self._account = account
        self._tokens = tokens
        self._limits = limits
        self.container: ContainerClient = _container(address, account, tokens, limits)
        self.objects: AzureStore = self._obstore()
        self.puts = puts

    def blob(self, key: str) -> "BlobClient":
        """Returns the client of one blob."""
        return self.container.get_blob_client(key)

    async def reader(self) -> "AzureStore":
        """See `remote.clients.Clients`."""
        token = (await self._tokens.get_token()).token if self._tokens is not None else None
        return await asyncio.to_thread(lambda: self._obstore(lasting=True, token=token))

    @asynccontextmanager
    async def whole(self, key: str, etag: str | None) -> AsyncIterator[Body]:
        """See `remote.clients.Clients`."""
        from obstore import get_async

        objects = await asyncio.to_thread(lambda: self._obstore(timeout=_UNLIMITED))
        reply = await get_async(objects, key, options={"if_match": etag} if etag is not None else {})
        rest = b""
        chunks = aiter(reply.stream())

        async def read(size: int) -> bytes:
            nonlocal rest
            if not rest:
                async with asyncio.timeout(self._limits.no_progress):
                    rest = bytes(await anext(chunks, b""))
            content, rest = rest[:size], rest[size:]
            return content

        yield Body(reply.meta["size"], reply.meta["e_tag"], read)

    async def look(self, key: str) -> Found:
        """See `remote.clients.Clients`."""
        found = await self.blob(key).get_blob_properties()
        if is_folder(found):
            raise Folder
        return found_in(found)

    async def delete(self, key: str, only: Found | None = None) -> None:
        """See `remote.clients.Clients`."""
        from azure.core import MatchConditions

        if only is None or only.stat.etag is None:
            await self.blob(key).delete_blob()
        else:
            await self.blob(key).delete_blob(etag=f'"{only.stat.etag}"', match_condition=MatchConditions.IfNotModified)

    @classmethod
    async def open(cls, address: AzureAddress, options: Mapping[str, Any], limits: Limits) -> "Clients":
        """Finds the credentials and creates the clients. Sends no request to the container.

        Raises:
            MissingLibrary: A library of Azure is not installed.
            StorageDenied: There are no credentials, or no account is named.
        """
        return await to_the_end(cls._open(address, options, limits), cls.aclose, within=_LEAVE)

    @classmethod
    async def _open(cls, address: AzureAddress, options: Mapping[str, Any], limits: Limits) -> "Clients":
        await asyncio.to_thread(_import)
        found = account(address, options)
        has_secret = found.key or found.sas_token
        if not has_secret and not found.endpoint_url.startswith("https:"):
            raise StorageDenied(f"{address} needs an endpoint with https, or a key: tokens are not sent without https")
        tokens = None if has_secret else await asyncio.to_thread(Tokens, found.credential)
        puts = Puts(address.bucket, found, tokens, limits.no_progress)
        try:
            if tokens is not None:
                await tokens.check(address)
            return await asyncio.to_thread(cls, address, found, tokens, puts, limits)
        except BaseException:
            await to_the_end(puts.aclose())
            if tokens is not None:
                await to_the_end(tokens.close())
            raise

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.container.close()
        await self.puts.aclose()
        if self._tokens is not None:
            await self._tokens.close()
        del self.objects  # closes its connections, even if `self` is still referred to
        await asyncio.sleep(REST)

    def _obstore(
        self, *, lasting: bool = False, token: str | None = None, timeout: timedelta | None = None
    ) -> "AzureStore":
        """Returns an obstore. A lasting one keeps its token and retries requests. Blocks: it reads certificates."""
        from obstore.store import AzureStore

        rest_at_exit()
        account, tokens = self._account, self._tokens

        async def borrow() -> Any:
            assert tokens is not None  # noqa: S101 - for mypy
            return {"token": (await tokens.get_token()).token, "expires_at": datetime.now(UTC) + _BORROWED}

        # obstore also looks into the environment, so each setting has a value here.
        signing: dict[str, Any]
        if account.key:
            signing = {"account_key": account.key, "credential_type": "access_key"}
        elif account.sas_token:
            signing = {"sas_key": account.sas_token, "credential_type": "sas_token"}
        else:
            signing = {"credential_provider": (lambda: {"token": token, "expires_at": None}) if token else borrow}
        return AzureStore(
            self._address.bucket,
            account_name=account.name or "unknown",
            endpoint=account.endpoint_url,
            use_emulator=False,
            use_fabric_endpoint=False,
            skip_signature=False,
            client_options=self._client_options(timeout),
            retry_config=None if lasting else {"max_retries": 0, "retry_timeout": timedelta(0)},
            **signing,
        )

    def _client_options(self, timeout: timedelta | None) -> "ClientConfig":
        seconds = self._limits.no_progress
        options: ClientConfig = {
            "allow_http": self._account.endpoint_url.startswith("http:"),
            "connect_timeout": timedelta(seconds=min(10.0, seconds)),
            # For one range. It gets at least 150 kB/s: the limiter sends fewer requests if they are slow.
            "timeout": timeout or timedelta(seconds=seconds),
        }
        if certificates := os.environ.get("SSL_CERT_FILE"):
            try:
                options["root_certificate"] = Path(certificates).read_text(errors="replace")
            except OSError as error:
                raise StorageUnavailable(
                    f"the certificates to trust cannot be read from {certificates!r} ({error.strerror}): "
                    "correct SSL_CERT_FILE"
                ) from None
        return options


def _container(address: AzureAddress, account: Account, tokens: Tokens | None, limits: Limits) -> "ContainerClient":
    """Returns azure-storage-blob's client. Blocks."""
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.storage.blob.aio import ContainerClient

    credential: Any = tokens
    if account.key:
        credential = AzureNamedKeyCredential(account.name or "", account.key)
    elif account.sas_token:
        credential = AzureSasCredential(account.sas_token)
    # aiohttp trusts the certificates that Python trusts: those of SSL_CERT_FILE, too.
    return ContainerClient(
        account.endpoint_url,
        address.bucket,
        credential=credential,
        retry_total=0,
        connection_timeout=min(10.0, limits.no_progress),
        read_timeout=limits.no_progress,
    )


def _import() -> None:
    """Imports azure-storage-blob. Blocks the first time."""
    try:
        import azure.storage.blob.aio  # noqa: F401
    except ImportError as error:
        raise MissingLibrary(
            'Azure Blob Storage needs azure-storage-blob: pip install "inhaul[azure]"', name="azure.storage.blob"
        ) from error

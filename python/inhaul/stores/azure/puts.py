"""Puts of blobs and blocks with aiohttp: azure-storage-blob takes three times the CPU time for a small blob.

The requests are Put Blob and Put Block of https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api;
their signature is in https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key.
"""

import asyncio
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from inhaul.stores.azure.options import Account
from inhaul.stores.azure.tokens import Tokens
from inhaul.stores.remote.aio import broken, proxy_for, sent_body, session

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_VERSION = "2021-12-02"  # of the service
_TYPE = "application/octet-stream"
_ERROR = 64 << 10  # bytes of an error that are read
_CODE = re.compile(r"<Code>(\w+)</Code>")


class Failed(Exception):
    """A reply that is an error.

    Attributes:
        status: Its status.
        code: The code of the service; empty if there is none.
        message: The body of the reply.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.message = message


class Puts:
    """Sends the content of blobs of one container.

    Args:
        container: The name of the container.
        account: The account.
        tokens: The tokens that sign if the account has no key and no SAS.
        no_progress: Seconds without any progress after which a request is aborted.
    """

    def __init__(self, container: str, account: Account, tokens: Tokens | None, no_progress: float) -> None:
        self._url = f"{account.endpoint_url}/{quote(container, safe='')}/"
        self._path = urlsplit(self._url).path
        self._account = account
        self._key = b64decode(account.key) if account.key else None
        self._tokens = tokens
        self._no_progress = no_progress
        self._session = session(no_progress, proxy_for(account.endpoint_url))

    async def blob(
        self, key: str, data: bytes, md5: bytes, *, metadata: Mapping[str, str], replaces: bool
    ) -> bytes | None:
        """Stores a blob in one request. Returns the MD5 that the server has computed; None if it does not say.

        Args:
            key: The whole key.
            data: The content.
            md5: Its MD5, which the server compares.
            metadata: The metadata of the blob.
            replaces: Whether it may replace a blob.

        Raises:
            Failed: The status of the reply is an error.
            Broken: The connection broke.
            TimeoutError: There was no progress.
        """
        headers = {
            **({} if replaces else {"If-None-Match": "*"}),
            "x-ms-blob-type": "BlockBlob",
            **{f"x-ms-meta-{one}": text for one, text in metadata.items()},
        }
        return await self._put(key, {}, headers, data, md5)

    async def block(self, key: str, block_id: str, data: bytes, md5: bytes) -> bytes | None:
        """Sends a block of a blob; see `blob`."""
        query = {"blockid": b64encode(block_id.encode()).decode(), "comp": "block"}
        return await self._put(key, query, {}, data, md5)

    async def _put(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str], data: bytes, md5: bytes
    ) -> bytes | None:
        from aiohttp import ClientError
        from yarl import URL

        name = quote(key, safe="/~")
        sent = {
            **headers,
            "Content-MD5": b64encode(md5).decode(),
            "Content-Type": _TYPE,
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": _VERSION,
        }
        if self._key is not None:
            signature = self._signature(sent, f"{self._path}{name}", query, len(data))
            sent["Authorization"] = f"SharedKey {self._account.name}:{signature}"
        elif self._tokens is not None:
            sent["Authorization"] = f"Bearer {(await self._tokens.get_token()).token}"
        parameters = "&".join(one for one in (urlencode(query), self._account.sas_token) if one)
        url = URL(f"{self._url}{name}{'?' if parameters else ''}{parameters}", encoded=True)
        watchdog = asyncio.timeout(self._no_progress)
        try:
            async with (
                watchdog,
                self._session.put(
                    url, data=sent_body(data, watchdog, self._no_progress), headers=sent, allow_redirects=False
                ) as reply,
            ):
                return await _md5_of(reply)
        except ClientError as error:
            raise broken(error) from None
        finally:
            del watchdog  # breaks a reference cycle that would keep this frame alive

    def _signature(self, headers: Mapping[str, str], path: str, query: Mapping[str, str], size: int) -> str:
        ours = "".join(f"{one}:{text}\n" for one, text in sorted(headers.items()) if one.startswith("x-ms-"))
        lines = (
            "PUT",
            *("", "", str(size or ""), headers["Content-MD5"], _TYPE),
            *("", "", "", headers.get("If-None-Match", ""), "", ""),
            f"{ours}/{self._account.name}{path}",
            *(f"{one}:{text}" for one, text in sorted(query.items())),
        )
        return b64encode(hmac.digest(self._key or b"", "\n".join(lines).encode(), "sha256")).decode()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._session.close()


async def _md5_of(reply: "ClientResponse") -> bytes | None:
    if reply.status == 201:
        await reply.read()
        md5 = reply.headers.get("Content-MD5")
        return b64decode(md5) if md5 else None
    message = (await reply.content.read(_ERROR)).decode(errors="replace")
    code = reply.headers.get("x-ms-error-code") or (found[1] if (found := _CODE.search(message)) else "")
    raise Failed(reply.status, code, message)

"""The client of the Hugging Face Hub: huggingface_hub for metadata, our own requests for content."""

from functools import partial
from typing import TYPE_CHECKING

from inhaul.stores.base import Stat
from inhaul.stores.hf import hub
from inhaul.stores.hf.address import HfAddress
from inhaul.stores.hf.faults import NotThere
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.web import Reply
from inhaul.stores.remote.web_clients import WebClients

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class Clients(WebClients):
    """The client of one repository, for one event loop; see `WebClients`."""

    def __init__(self, address: HfAddress, limits: Limits, api: "HfApi", token: str | None) -> None:
        self._server = api.endpoint
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        super().__init__(self._url_of(address, "").rstrip("/"), limits, headers)
        self._address = address
        self._api = api

    @classmethod
    async def open(cls, address: HfAddress, limits: Limits) -> "Clients":
        """Finds the token and creates the client. Sends no request.

        Raises:
            MissingLibrary: huggingface_hub is not installed.
        """
        return cls(address, limits, *await hub.call(hub.login, limits.no_progress))

    def _url(self, key: str) -> str:
        return self._url_of(self._address, key)

    def _url_of(self, address: HfAddress, key: str) -> str:
        return f"{self._server}{address.url(key)}"

    def _etag(self, reply: Reply) -> str | None:
        """The Hub names the content, and leads to a server that has other entity tags."""
        etag = tag(reply.own.get("X-Linked-Etag") or reply.own.get("ETag"))
        return f'"{etag}"' if etag else None

    async def look(self, key: str) -> Found:
        """See `remote.clients.Readers`."""
        stat = await hub.call(partial(hub.look, self._api, self._address, key), self._limits.no_progress)
        if stat is None:
            raise NotThere
        return Found(stat, None)

    async def tree(self, folder: str) -> list[tuple[str, Stat]]:
        """Requests all files below a folder, by their whole keys."""
        return await hub.call(partial(hub.tree, self._api, self._address, folder), self._limits.give_up)

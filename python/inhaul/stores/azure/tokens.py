"""The credential whose tokens sign requests without a key or a SAS."""

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from inhaul.errors import MissingLibrary, StorageDenied

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

_SCOPE = "https://storage.azure.com/.default"


class Tokens:
    """A credential for one event loop; the clients get it as an async one.

    Args:
        credential: A credential of azure-identity, async or not; None for the one that this machine has.
    """

    def __init__(self, credential: Any) -> None:
        self._credential = credential if credential is not None else _of_machine()
        self._is_own = credential is None

    async def get_token(self, *scopes: str, **options: Any) -> "AccessToken":
        """Returns a token that is valid for some minutes."""
        get = self._credential.get_token
        if inspect.iscoroutinefunction(get):
            token: AccessToken = await get(*(scopes or (_SCOPE,)), **options)
            return token
        return await asyncio.to_thread(get, *(scopes or (_SCOPE,)), **options)

    async def check(self, address: object) -> None:
        """Asks for a token.

        Raises:
            StorageDenied: There are no credentials.
        """
        from azure.core.exceptions import AzureError

        try:
            await self.get_token()
        except AzureError as error:
            # Its text may quote the reply of a token server.
            raise StorageDenied(
                f"no Azure credentials for {address} ({type(error).__name__}): set AZURE_STORAGE_ACCOUNT_KEY, "
                "sign in with `az login`, or pass storage_options"
            ) from None

    async def close(self) -> None:
        """Closes the connections of the credential, unless it is the user's."""
        if self._is_own:
            await self._credential.close()

    async def __aenter__(self) -> "Tokens":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Does nothing: the clients do not own the credential."""


def _of_machine() -> Any:
    try:
        from azure.identity.aio import DefaultAzureCredential
    except ImportError as error:
        raise MissingLibrary(
            'Azure without a key or a SAS needs azure-identity: pip install "inhaul[azure]"', name="azure.identity"
        ) from error
    return DefaultAzureCredential()

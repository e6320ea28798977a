"""aiobotocore's client, made when the first request needs it.

To import aiobotocore and to read its description of S3 takes longer than to send a hundred small objects, for which
obstore suffices.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.s3.account import Account, descriptions
from inhaul.tasks import to_the_end

_LEAVE = 1.0  # seconds that a cancelled call waits while the client is made


class LaterClient:
    """The operations of aiobotocore's client. The first call makes it.

    Args:
        found: The account and its server.
        limits: The limits on requests.
    """

    def __init__(self, found: Account, limits: Limits) -> None:
        self._account = found
        self._limits = limits
        self._client: Any = None
        self._making = asyncio.Lock()

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(**parameters: Any) -> Any:
            client = self._client or await self._made()
            return await getattr(client, operation)(**parameters)

        return call

    async def _made(self) -> Any:
        async with self._making:
            if self._client is None:
                making = asyncio.to_thread(_make, self._account, self._limits)
                self._client = await to_the_end(making, lambda client: client.close(), within=_LEAVE)
            return self._client

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()


def _make(found: Account, limits: Limits) -> Any:
    """Makes the client in a thread with its own loop: this reads files."""
    return asyncio.run(_make_async(found, limits))


async def _make_async(found: Account, limits: Limits) -> Any:
    from aiobotocore.config import AioConfig
    from aiobotocore.credentials import AioCredentials
    from aiobotocore.session import AioSession
    from botocore import UNSIGNED
    from botocore.handlers import add_expect_header

    class Lent(AioCredentials):  # type: ignore[misc]
        async def get_frozen_credentials(self) -> Any:
            return await found.frozen()

    class Lender:
        async def load_credentials(self) -> Any:
            now = await found.frozen()
            return Lent(now.access_key, now.secret_key, now.token)

    session = AioSession(profile=found.profile)
    session.register_component("data_loader", descriptions(session.get_config_variable("data_path")))
    session.register_component("credential_provider", Lender())
    config = AioConfig(
        max_pool_connections=limits.most,
        connect_timeout=10,
        read_timeout=limits.no_progress,
        retries={"total_max_attempts": 1},
        signature_version=UNSIGNED if found.credentials is None else None,
        **found.way.config(),
    )
    client = await AsyncExitStack().enter_async_context(
        session.create_client(
            "s3",
            endpoint_url=found.way.endpoint_url,
            region_name=found.region,
            verify=found.way.verify,
            use_ssl=found.use_ssl,
            config=config,
        )
    )
    # Without this, each part would wait for a "100 Continue" before its body is sent.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    if found.way.requester_pays:
        client.meta.events.register("before-call.s3", _pay)
    return client


def _pay(params: Any, **_: Any) -> None:
    """Adds to every request that the requester pays."""
    params["headers"]["x-amz-request-payer"] = "requester"

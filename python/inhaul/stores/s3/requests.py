"""Requests to one bucket: limited, retried if that can help, and with errors that say what to do."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from inhaul.errors import InhaulError, ObjectRefused, StorageDenied, StorageFull, StorageMissing, StorageUnavailable
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import AGAIN, Fault, Kind, classify
from inhaul.stores.s3.limiter import Limiter, Limits

T = TypeVar("T")

_TRIES = 5  # for failures that should not happen twice: damage in transit, expired credentials


class Refused(ObjectRefused):
    """The server refused a request for a reason that the caller usually understands.

    Attributes:
        kind: `GONE` or `TAKEN`.
        again: Whether an earlier try had failed; it may have succeeded on the server.
    """

    def __init__(self, message: str, kind: Kind, again: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.again = again


class Requests:
    """Sends requests from one event loop, all under one limit.

    Attributes:
        address: The address of the storage.
        limits: The limits on requests.
        unsettled: The ids of writes with an unknown outcome, by key: their calls were cancelled or gave up.
    """

    def __init__(self, address: S3Address, options: Mapping[str, Any], limits: Limits) -> None:
        self.address = address
        self.limits = limits
        self.unsettled: dict[str, str] = {}
        self._options = options
        self._limiter = Limiter(limits.requests, slow=limits.no_progress / 4)
        self._clients: Clients | None = None
        self._outdated: list[Clients] = []
        self._opening = asyncio.Lock()

    async def send(self, request: Callable[[Clients], Awaitable[T]], key: str = "", *, needs: str) -> T:
        """Sends a request until it succeeds or fails for good.

        Args:
            request: Builds and sends the request. It is called again for each try, so that each is signed anew.
            key: The key of the object, if there is one.
            needs: The permissions that the request needs, as Amazon names them.

        Raises:
            Refused: The object or upload does not exist, or an object exists that should not.
            StorageMissing: There is no such bucket.
            StorageDenied: The credentials are refused, or the clock of this machine is wrong.
            StorageUnavailable: No try succeeded in `limits.give_up` seconds, or the certificate of the server is not
                trusted.
            StorageFull: The storage has no room.
            ObjectRefused: The storage does not accept this request.
        """
        loop = asyncio.get_running_loop()
        clients = self._clients or await self._renewed(None)
        failures, first = 0, 0.0
        while True:
            await self._limiter.acquire()
            sent = loop.time()
            try:
                result = await request(clients)
            except InhaulError:
                self._limiter.release()
                raise
            except Exception as error:
                now = loop.time()
                fault = classify(error)
                if fault.kind in AGAIN:
                    self._limiter.failed(now, slower=fault.kind is Kind.SLOWER)
                else:
                    self._limiter.release()
                first = first or sent
                if not self._worth_another(fault, failures, now - first):
                    raise self._final(fault, key, needs, again=failures > 0) from None
            except BaseException:
                self._limiter.release()
                raise
            else:
                now = loop.time()
                self._limiter.succeeded(now, now - sent)
                return result
            if fault.kind is Kind.EXPIRED:
                clients = await self._renewed(clients)
            else:
                await asyncio.sleep(self._pause(failures))
            failures += 1

    async def aclose(self) -> None:
        """Closes the connections; the next request opens new ones."""
        open_ones, self._clients, self._outdated = [*self._outdated, self._clients], None, []
        for clients in open_ones:
            if clients is not None:
                await clients.aclose()

    async def _renewed(self, seen: Clients | None) -> Clients:
        """Returns new clients if those seen have no valid credentials. Concurrent callers share the new ones."""
        async with self._opening:
            if self._clients is None or self._clients is seen:
                fresh = await Clients.open(self.address, self._options, self.limits)
                if self._clients is not None:
                    self._outdated.append(self._clients)  # other calls still use its connections
                self._clients = fresh
            return self._clients

    def _worth_another(self, fault: Fault, failures: int, seconds: float) -> bool:
        if fault.kind in AGAIN:
            return seconds + self.limits.backoff < self.limits.give_up
        return fault.kind in (Kind.DAMAGED, Kind.EXPIRED) and failures + 1 < _TRIES

    def _pause(self, failures: int) -> float:
        longest = min(self.limits.longest_backoff, self.limits.backoff * 2 ** min(failures, 30))
        return random.uniform(0, longest)  # noqa: S311 - spreads the load, hides nothing

    def _final(self, fault: Fault, key: str, needs: str, *, again: bool) -> Exception:
        """Returns the error to raise. It quotes neither the request nor the reply, as they may hold credentials."""
        where = f"{key!r} in {self.address}" if key else str(self.address)
        match fault.kind:
            case Kind.GONE | Kind.TAKEN:
                return Refused(f"{where}: the storage refuses the request ({fault})", fault.kind, again)
            case Kind.NO_BUCKET:
                return StorageMissing(
                    f"there is no bucket {self.address.bucket!r} for {self.address}: create it, or correct the address"
                )
            case Kind.DENIED | Kind.EXPIRED:
                return StorageDenied(
                    f"{where}: access denied ({fault}): check the credentials, and that they permit {needs}"
                )
            case Kind.UNTRUSTED:
                return StorageUnavailable(
                    f"{where}: the certificate of the server is not trusted ({fault}): set AWS_CA_BUNDLE to a file of "
                    'trusted certificates, or pass it as storage_options={"client_kwargs": {"verify": ...}}'
                )
            case Kind.SKEWED:
                return StorageDenied(f"{where}: the clock of this machine is wrong ({fault}): set it")
            case Kind.FULL:
                return StorageFull(f"{where}: no space left ({fault})")
            case Kind.REFUSED:
                return ObjectRefused(f"{where}: the storage refuses the request ({fault})")
            case _:
                return StorageUnavailable(
                    f"{where}: no success in {self.limits.give_up:g} s ({fault}): check the server, then call again"
                )

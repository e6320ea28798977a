"""Requests to one bucket: limited, retried if that can help, and with errors that say what to do."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from inhaul import observing
from inhaul.errors import InhaulError, ObjectRefused, StorageDenied, StorageFull, StorageMissing, StorageUnavailable
from inhaul.stores.remote.address import BucketAddress
from inhaul.stores.remote.clients import Readers
from inhaul.stores.remote.faults import AGAIN, Fault, Kind
from inhaul.stores.remote.limiter import Limiter, Limits
from inhaul.stores.remote.room import Room
from inhaul.tasks import OF_DOWNLOAD, most_at_once

T = TypeVar("T")
C_co = TypeVar("C_co", bound=Readers, covariant=True)

_IN_MEMORY = 128 << 20  # the most bytes of downloads in memory, and as many of uploads
_TRIES = 5  # for failures that should not happen twice: damage in transit, expired credentials
_CROWDED = 5  # a request may fail so many times longer while others succeed: a busy server serves at random
_AWAY = 5.0  # seconds without success after which a log record says that the storage is away


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


class Service(NamedTuple):
    """A service on a network, such as S3: its errors, and its words for people.

    Attributes:
        classify: Returns the meaning of an error of its clients.
        read: The permissions that reading an object or its metadata needs.
        write: The permissions that storing an object needs.
        delete: The permissions that deleting an object needs.
        trust: The way to make a certificate trusted.
        absent: What to do if there is no such bucket.
    """

    classify: Callable[[Exception], Fault]
    read: str
    write: str
    delete: str
    trust: str
    absent: str = "create it, or correct the address"


class Requests(Generic[C_co]):
    """Sends requests from one event loop, all under one limit.

    Args:
        address: The address of the storage.
        limits: The limits on requests.
        service: The service of the storage.
        open_clients: Finds the credentials and creates the clients. It is called again when credentials expire.

    Attributes:
        address: The address of the storage.
        limits: The limits on requests.
        service: The service of the storage.
        downloads: A turn for each object that is downloaded into a file, which bounds the open files.
        download_room: The room in memory for bytes that are downloaded and not yet written.
        upload_room: The room in memory for bytes of files that are sent one by one.
        unsettled: The ids of writes with an unknown outcome, by key: their calls were cancelled or gave up.
    """

    def __init__(
        self,
        address: BucketAddress,
        limits: Limits,
        service: Service,
        open_clients: Callable[[], Awaitable[C_co]],
    ) -> None:
        self.address = address
        self.limits = limits
        self.service = service
        self.downloads = asyncio.Semaphore(min(limits.most, most_at_once(OF_DOWNLOAD)))
        self.download_room = Room(_IN_MEMORY)
        self.upload_room = Room(_IN_MEMORY)
        self.unsettled: dict[str, str] = {}
        self._open = open_clients
        self._succeeded = 0.0  # when a request last did
        self._away_since: float | None = None
        self._limiter = Limiter(limits.requests, limits.no_progress / 4, limits.most, str(address))
        observing.watch(self._limiter, address.scheme)
        self._clients: C_co | None = None
        self._outdated: list[C_co] = []
        self._opening = asyncio.Lock()

    async def send(self, request: Callable[[C_co], Awaitable[T]], key: str = "", *, needs: str) -> T:
        """Sends a request until it succeeds or fails for good.

        Args:
            request: Builds and sends the request. It is called again for each try, so that each is signed anew.
            key: The key of the object, if there is one.
            needs: The permissions that the request needs, as the service names them.

        Raises:
            Refused: The object or upload does not exist, or an object exists that should not.
            StorageMissing: There is no such bucket.
            StorageDenied: The credentials are refused, or the clock of this machine is wrong.
            StorageUnavailable: No request to the bucket succeeded in `limits.give_up` seconds, or this one did not in
                five times as long, or the certificate of the server is not trusted.
            StorageFull: The storage has no room.
            ObjectRefused: The storage does not accept this request.
        """
        loop = asyncio.get_running_loop()
        clients = self._clients or await self._renewed(None)
        failures, spent, first = 0, 0, 0.0
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
                fault = self.service.classify(error)
                if fault.kind in AGAIN:
                    self._limiter.failed(now, slower=fault.kind is Kind.SLOWER)
                else:
                    self._limiter.release()
                    spent += 1
                first = first or sent
                observing.count_request(self.address.scheme, needs, now - sent, fault.kind.name.lower())
                if not self._worth_another(fault, spent, first, now):
                    raise self._final(fault, key, needs, now - first, again=failures > 0) from None
                failures += 1
                self._tell_again(fault, key, needs, failures, max(first, self._succeeded), now)
            except BaseException:
                self._limiter.release()
                raise
            else:
                self._succeeded = now = loop.time()
                self._limiter.succeeded(now, now - sent, needs)
                observing.count_request(self.address.scheme, needs, now - sent)
                if self._away_since is not None:
                    self._tell_back(now)
                return result
            if fault.kind is Kind.EXPIRED:
                clients = await self._renewed(clients)
            else:
                await asyncio.sleep(self._pause(failures - 1))

    async def aclose(self) -> None:
        """Closes the connections; the next request opens new ones."""
        open_ones, self._clients, self._outdated = [*self._outdated, self._clients], None, []
        for clients in open_ones:
            if clients is not None:
                await clients.aclose()

    async def _renewed(self, seen: object) -> C_co:
        """Returns new clients if those seen have no valid credentials. Concurrent callers share the new ones."""
        async with self._opening:
            if self._clients is None or self._clients is seen:
                fresh = await self._open()
                if self._clients is not None:
                    self._outdated.append(self._clients)  # other calls still use its connections
                self._clients = fresh
            return self._clients

    def _worth_another(self, fault: Fault, spent: int, first: float, now: float) -> bool:
        if fault.kind in AGAIN:
            patience = self.limits.give_up - self.limits.backoff
            return now - max(first, self._succeeded) < patience and now - first < _CROWDED * patience
        return fault.kind in (Kind.DAMAGED, Kind.EXPIRED) and spent < _TRIES

    def _tell_again(self, fault: Fault, key: str, needs: str, retries: int, since: float, now: float) -> None:
        """Counts and logs that a request is sent again; once also that the storage is away."""
        storage, error = str(self.address), str(fault)
        observing.count_retry(self.address.scheme, fault.kind.name.lower())
        observing.tell(
            "requests",
            logging.DEBUG,
            "a request is sent again",
            storage=storage,
            object=key,
            kind=needs,
            retries=retries,
            error=error,
        )
        if self._away_since is None and now - since >= _AWAY:
            self._away_since = since
            seconds = round(now - since, 1)
            what = "no request succeeds"
            observing.tell("requests", logging.WARNING, what, storage=storage, seconds=seconds, error=error)

    def _tell_back(self, now: float) -> None:
        seconds = round(now - (self._away_since or now), 1)
        self._away_since = None
        observing.tell("requests", logging.INFO, "requests succeed again", storage=str(self.address), seconds=seconds)

    def _pause(self, failures: int) -> float:
        longest = min(self.limits.longest_backoff, self.limits.backoff * 2 ** min(failures, 30))
        return random.uniform(0, longest)  # noqa: S311 - spreads the load, hides nothing

    def _final(self, fault: Fault, key: str, needs: str, seconds: float, *, again: bool) -> Exception:
        """Returns the error to raise. It quotes neither the request nor the reply, as they may hold credentials."""
        where = f"{key!r} in {self.address}" if key else str(self.address)
        match fault.kind:
            case Kind.GONE | Kind.TAKEN:
                return Refused(f"{where}: the storage refuses the request ({fault})", fault.kind, again)
            case Kind.NO_BUCKET:
                return StorageMissing(
                    f"there is no {self.address.holder} {self.address.bucket!r} for {self.address}: "
                    f"{self.service.absent}"
                )
            case Kind.DENIED | Kind.EXPIRED:
                return StorageDenied(
                    f"{where}: access denied ({fault}): check the credentials, and that they permit {needs}"
                )
            case Kind.UNTRUSTED:
                return StorageUnavailable(
                    f"{where}: the certificate of the server is not trusted ({fault}): {self.service.trust}"
                )
            case Kind.SKEWED:
                return StorageDenied(f"{where}: the clock of this machine is wrong ({fault}): set it")
            case Kind.FULL:
                return StorageFull(f"{where}: no space left ({fault})")
            case Kind.DAMAGED:
                return StorageUnavailable(f"{where}: damaged in transit {_TRIES} times ({fault}): check the network")
            case Kind.REFUSED:
                return ObjectRefused(f"{where}: the storage refuses the request ({fault})")
            case _:
                return StorageUnavailable(
                    f"{where}: no success in {max(self.limits.give_up, int(seconds)):g} s ({fault}): "
                    "check the server, then call again"
                )

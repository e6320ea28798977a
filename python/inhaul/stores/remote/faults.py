"""The kinds of failed requests, and the signs of each that all services share."""

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """The reaction to a failed request."""

    RETRY = auto()  # the next try may succeed
    SLOWER = auto()  # the server wants fewer requests
    DAMAGED = auto()  # the bytes were damaged in transit
    EXPIRED = auto()  # new credentials are needed
    GONE = auto()  # no such object, or no such upload
    TAKEN = auto()  # there is an object, but the request required that there is none
    NO_BUCKET = auto()
    DENIED = auto()
    FULL = auto()
    SKEWED = auto()  # the clock of this machine is wrong
    UNTRUSTED = auto()  # the certificate of the server or of a proxy is not trusted
    REFUSED = auto()  # any other permanent failure


AGAIN = (Kind.RETRY, Kind.SLOWER)
"""Failures after which the next try may succeed, however many have failed."""

NOTHING_DONE = (
    Kind.EXPIRED,
    Kind.GONE,
    Kind.TAKEN,
    Kind.NO_BUCKET,
    Kind.DENIED,
    Kind.SKEWED,
    Kind.UNTRUSTED,
    Kind.REFUSED,
)
"""Codes that mean that the server did not carry out the request."""


class Damaged(Exception):
    """The server's digest differs from that of the bytes sent."""


class ShortReply(Exception):
    """A reply ended early, or went on too long, although it looked complete."""


class Fault(NamedTuple):
    """One failed request.

    Attributes:
        kind: The reaction to it.
        status: The HTTP status; None if there was no reply.
        code: The code of the server, else of the system, else the name of the error.
    """

    kind: Kind
    status: int | None
    code: str

    def __str__(self) -> str:
        return self.code if self.status is None else f"{self.status} {self.code}"


_STATUSES = {
    401: Kind.DENIED,
    403: Kind.DENIED,
    404: Kind.GONE,
    408: Kind.RETRY,
    409: Kind.RETRY,
    412: Kind.TAKEN,
    425: Kind.RETRY,
    429: Kind.SLOWER,
    501: Kind.REFUSED,
    507: Kind.FULL,
}

# obstore reports the reply only in the text of its errors.
_OBSTORE_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_OBSTORE_CODE = re.compile(r"<Code>(\w+)</Code>")
_CERTIFICATE = re.compile(r"certificate verify failed: ([\w '.,-]+)|InvalidCertificate\(\s*(\w+)")
_OBSTORE_CAUSE = re.compile(
    r'message: "([\w ]+)"|"(dns error)"'
)  # texts of the system; those of replies are not quoted

ReplyFault = Callable[[str, int | None], Fault]
"""Returns the meaning of a reply by the code of the service, empty if there is none, and the HTTP status."""


def coded_fault(codes: Mapping[str, Kind], code: str, status: int | None) -> Fault:
    """Returns the meaning of a reply by the codes of a service, else by the status, else treats it as temporary."""
    known = codes.get(code)
    if known is None and status is not None:
        known = _STATUSES.get(status) or (Kind.REFUSED if 400 <= status < 500 else None)
    return Fault(known or Kind.RETRY, status, code)


def common_fault(error: Exception, reply_fault: ReplyFault) -> Fault:
    """Returns the meaning of an error of obstore, or of one that any client may raise.

    Unknown errors are treated as temporary.
    """
    name = type(error).__name__
    if isinstance(error, Damaged):
        return Fault(Kind.DAMAGED, None, "damaged on its way")
    if isinstance(error, TimeoutError):
        return Fault(Kind.RETRY, None, "no progress")
    if type(error).__module__.startswith("obstore") or isinstance(error, FileNotFoundError):
        return _obstore_fault(error, reply_fault)
    if isinstance(error, (ValueError, TypeError)):
        return Fault(Kind.REFUSED, None, name)
    return _untrusted(str(error)) or Fault(Kind.RETRY, None, name)


def _untrusted(text: str) -> Fault | None:
    found = _CERTIFICATE.search(text)
    return Fault(Kind.UNTRUSTED, None, found[found.lastindex or 0].strip()) if found else None


def _obstore_fault(error: Exception, reply_fault: ReplyFault) -> Fault:
    # The rest repeats the first part in the notation of Rust.
    text, _, details = str(error).partition("\n\nDebug source:")
    status, code = _OBSTORE_STATUS.search(text), _OBSTORE_CODE.search(text)
    if status is not None:
        return reply_fault(code[1] if code else "", int(status[1]))
    name = type(error).__name__
    if name == "UnauthenticatedError":
        return Fault(Kind.DENIED, None, "no credentials")
    if untrusted := _untrusted(details):
        return untrusted
    cause = _OBSTORE_CAUSE.search(details)
    return Fault(Kind.RETRY, None, cause[cause.lastindex or 0] if cause else name)

"""How the strict Azure server authorizes requests: by Shared Key, or by a service or account SAS.

The rules are those of the documents "Authorize with Shared Key", "Create a service SAS" and "Create an account SAS".
SAS tokens have version 2020-12-06 or later; those for users of Entra ID are unknown here.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from proxy import Request
from strict_azure_blobs import AzureError

SAS_PARAMETERS = frozenset(
    {"sv", "ss", "srt", "sr", "st", "se", "sp", "sip", "spr", "si", "sig", "ses"}
    | {"rscc", "rscd", "rsce", "rscl", "rsct"}  # headers of replies
)
_SIGNED_HEADERS = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
_SKEW = timedelta(minutes=15)
_SPACES = re.compile(r"[ \t]+")


class Place(NamedTuple):
    """The resource of a request. A service has no container, and a container has no blob."""

    account: str
    container: str
    blob: str


class Credentials(NamedTuple):
    """The account, and its key in base64."""

    account: str
    key: str

    def sign(self, text: str) -> str:
        mac = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256)
        return base64.b64encode(mac.digest()).decode()


def place_of(target: str) -> Place:
    """Parses the target of a request, or raises InvalidUri."""
    try:
        parts = [unquote(part, errors="strict") for part in target.partition("?")[0].split("/", 3)[1:]]
    except UnicodeDecodeError:
        raise AzureError("InvalidUri", "The path is not UTF-8.") from None
    return Place(*parts, *[""] * (3 - len(parts)))


def query_of(target: str) -> dict[str, str]:
    """Returns the parameters of a request, decoded. Several values of a name are joined, as for the signature."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(target.partition("?")[2], keep_blank_values=True):
        found.setdefault(name.lower(), []).append(value)
    return {name: ",".join(sorted(values)) for name, values in found.items()}


def authorize(request: Request, credentials: Credentials, permissions: str, resource: str) -> str | None:
    """Checks that a request may be answered.

    Args:
        request: The request.
        credentials: The account.
        permissions: The letters of which a SAS must have at least one; "" if only a key allows the operation.
        resource: The letter for the resource in an account SAS: "s", "c" or "o".

    Returns:
        The permissions in the SAS; None if the request is signed with the key, which may do everything.

    Raises:
        AzureError: It may not.
    """
    query = query_of(request.target)
    if "authorization" in request.headers:
        _check_key(request, credentials, query)
        return None
    if "sig" in query:
        return _check_sas(request, credentials, query, permissions, resource)
    raise AzureError("NoAuthenticationInformation", "There is neither an Authorization header nor a SAS.")


def _check_key(request: Request, credentials: Credentials, query: Mapping[str, str]) -> None:
    headers = request.headers
    scheme, _, given = headers["authorization"].partition(" ")
    if scheme != "SharedKey":
        raise AzureError("NoAuthenticationInformation", f"This server knows no {scheme}.")
    try:
        sent = parsedate_to_datetime(headers.get("x-ms-date") or headers["date"])
    except (KeyError, ValueError):
        raise AzureError("AuthenticationFailed", "x-ms-date is missing or no date.") from None
    if abs(datetime.now(UTC) - sent) > _SKEW:
        raise AzureError("AuthenticationFailed", "x-ms-date differs from the server's clock by over 15 minutes.")
    text = string_to_sign(request, credentials.account, query)
    if not hmac.compare_digest(given, f"{credentials.account}:{credentials.sign(text)}"):
        raise AzureError("AuthenticationFailed", f"The server signs {text!r}.")


def string_to_sign(request: Request, account: str, query: Mapping[str, str]) -> str:
    """Returns the text that a Shared Key signature is of."""
    headers = dict(request.headers)
    if headers.get("content-length") == "0":
        del headers["content-length"]
    if "x-ms-date" in headers:
        headers.pop("date", None)
    lines = [request.method, *(headers.get(name, "") for name in _SIGNED_HEADERS)]
    lines += [f"{name}:{_SPACES.sub(' ', headers[name])}" for name in sorted(headers) if name.startswith("x-ms-")]
    # The path as sent; it starts with the account, so for a server with such paths the account is there twice.
    lines.append(f"/{account}{request.target.partition('?')[0]}")
    lines += [f"{name}:{query[name]}" for name in sorted(query)]
    return "\n".join(lines)


def _check_sas(
    request: Request, credentials: Credentials, query: Mapping[str, str], permissions: str, resource: str
) -> str:
    def refuse(detail: str) -> AzureError:
        return AzureError("AuthenticationFailed", detail)

    def joined(names: str) -> str:
        return "\n".join(query.get(name, "") for name in names.split())

    version, granted = query.get("sv", ""), query.get("sp", "")
    if version < "2020-12-06":
        raise refuse("This server takes a SAS of version 2020-12-06 or later.")
    place = place_of(request.target)
    if "srt" in query:
        text = f"{credentials.account}\n{joined('sp ss srt st se sip spr sv ses')}\n"
    else:
        signed = {"b": f"/{place.container}/{place.blob}", "c": f"/{place.container}"}.get(query.get("sr", ""))
        if signed is None:
            raise refuse("sr is neither b nor c.")
        text = f"{joined('sp st se')}\n/blob/{credentials.account}{signed}\n"
        text += f"{joined('si sip spr sv sr snapshot ses rscc rscd rsce rscl rsct')}"
    if not hmac.compare_digest(query["sig"], credentials.sign(text)):
        raise refuse(f"Signature did not match. String to sign used was {text!r}.")
    start, end = (_time(query[name]) if name in query else None for name in ("st", "se"))
    if end is None or datetime.now(UTC) >= end or (start and datetime.now(UTC) < start):
        raise refuse("Signature not valid in the specified time frame.")
    if query.get("spr", "https,http") == "https":
        raise AzureError("AuthorizationProtocolMismatch")
    if not _includes(query.get("sip", "127.0.0.1")):
        raise AzureError("AuthorizationSourceIPMismatch")
    if "srt" in query:
        if "b" not in query.get("ss", ""):
            raise AzureError("AuthorizationServiceMismatch")
        if resource not in query["srt"]:
            raise AzureError("AuthorizationResourceTypeMismatch")
    elif resource == "s" or (resource == "c" and permissions not in ("l", "d")):
        raise AzureError("AuthorizationFailure", "A service SAS does not allow operations on containers.")
    if not set(granted) & set(permissions):
        raise AzureError(
            "AuthorizationPermissionMismatch", f"It needs one of {permissions!r}, the SAS has {granted!r}."
        )
    return granted


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise AzureError("AuthenticationFailed", f"{text} is no time.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _includes(addresses: str) -> bool:
    first, _, last = addresses.partition("-")
    return _number(first) <= _number("127.0.0.1") <= _number(last or first)


def _number(address: str) -> list[int]:
    return [int(part) for part in address.split(".")]

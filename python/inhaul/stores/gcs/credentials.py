"""Credentials of Google, found and renewed by google-auth, which blocks and so runs in threads."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.errors import MissingLibrary, StorageDenied
from inhaul.stores.gcs.options import ANONYMOUS, DEFAULT, MACHINE
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from obstore.store import GCSCredential

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_LEAVE = 1.0  # seconds that a cancelled call waits while a token is fetched
_PAUSE = 30.0  # seconds between failures to renew a token that is still valid
_NEW = 60.0  # seconds; a token that was fetched so recently has not expired
_BORROWED = timedelta(minutes=6)  # obstore asks again five minutes before a token ends, so each minute


class Tokens:
    """The access tokens of one set of credentials.

    Args:
        credentials: Those of google-auth; None for a token that cannot be renewed.
        fixed: That token; None for no token at all.
        seconds: The most seconds that one request for a token takes.
    """

    def __init__(self, credentials: Any, fixed: str | None, seconds: float) -> None:
        self._credentials = credentials
        self._fixed = fixed
        self._seconds = seconds
        self._renewed = time.monotonic()
        self._next = 0.0
        self._renewing = asyncio.Lock()

    def __repr__(self) -> str:
        return "Tokens()"

    @property
    def may_have_expired(self) -> bool:
        """True if a refused token may be replaced by a valid one."""
        return self._credentials is not None and time.monotonic() - self._renewed > _NEW

    async def header(self) -> dict[str, str]:
        """Returns the header that lets in.

        Raises:
            google.auth.exceptions.GoogleAuthError: There is no valid token.
        """
        if self._credentials is not None and self._is_due():
            async with self._renewing:
                if self._is_due():
                    await to_the_end(asyncio.to_thread(self._renew), within=_LEAVE)
        token = self._fixed if self._credentials is None else self._credentials.token
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def lend(self) -> "GCSCredential":
        """Returns a token for obstore. Blocks while it is renewed."""
        if self._is_due():
            self._renew()
        return {"token": self._credentials.token, "expires_at": datetime.now(UTC) + _BORROWED}

    @property
    def lender(self) -> "Callable[[], GCSCredential] | None":
        """The function that gives obstore its tokens; None for no tokens."""
        if self._credentials is not None:
            return self.lend
        fixed = self._fixed
        return None if fixed is None else lambda: {"token": fixed, "expires_at": None}

    def _is_due(self) -> bool:
        """Returns True if a new token is needed, or should be tried to get as the old one ends within minutes."""
        from google.auth.credentials import TokenState

        state = self._credentials.token_state
        return state is TokenState.INVALID or (state is TokenState.STALE and time.monotonic() >= self._next)

    def _renew(self) -> None:
        from google.auth.credentials import TokenState
        from google.auth.exceptions import GoogleAuthError

        try:
            with _transport(self._seconds) as request:
                self._credentials.refresh(request)
        except GoogleAuthError:
            if self._credentials.token_state is TokenState.INVALID:
                raise
            self._next = time.monotonic() + _PAUSE
        else:
            self._renewed = time.monotonic()


@contextmanager
def _transport(seconds: float) -> Iterator[Callable[..., Any]]:
    """Yields a way for google-auth to send requests, each of which takes limited time."""
    import requests
    from google.auth.transport.requests import Request

    with requests.Session() as session:
        request = Request(session)
        yield lambda *given, **named: request(*given, **{**named, "timeout": seconds})


def find(token: Any, where: object, seconds: float) -> Tokens:
    """Finds credentials. Blocks: it reads files, and may ask the server of metadata of this machine.

    Args:
        token: The option of that name.
        where: The storage, for errors.
        seconds: The most seconds that one request for a token takes.

    Raises:
        MissingLibrary: google-auth is not installed.
        StorageDenied: There are no credentials, or they cannot be read.
    """
    if token == ANONYMOUS:
        return Tokens(None, None, seconds)
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request  # noqa: F401 - it needs another library
    except ImportError as error:
        raise MissingLibrary('This needs google.auth: pip install "inhaul[gcs]"', name="google.auth") from error
    try:
        given = _given(token)
        return Tokens(None, given, seconds) if isinstance(given, str) else Tokens(given, None, seconds)
    except (GoogleAuthError, OSError, ValueError, KeyError, TypeError) as error:
        # Its text may quote a file or a reply of a token server.
        kind = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        raise StorageDenied(
            f"no Google credentials for {where} ({kind}): set GOOGLE_APPLICATION_CREDENTIALS, "
            "run `gcloud auth application-default login`, or pass storage_options={'token': ...}"
        ) from None


def _given(token: Any) -> Any:
    """Returns the credentials that an option means, or the access token itself."""
    import google.auth

    if token == DEFAULT:
        return google.auth.default(scopes=_SCOPES)[0]
    if token == MACHINE:
        from google.auth.compute_engine import Credentials

        return Credentials(scopes=_SCOPES)  # type: ignore[no-untyped-call]
    if isinstance(token, str) and not token.endswith(".json") and not Path(token).exists():
        return token
    return _read(dict(token) if isinstance(token, Mapping) else json.loads(Path(token).read_bytes()))


def _read(info: dict[str, Any]) -> Any:
    """Returns the credentials that a file of Google's tools describes.

    google-auth also has a function that takes any type, but wants to be told the type.
    """
    from google.auth import aws, identity_pool, impersonated_credentials, pluggable
    from google.oauth2 import credentials, service_account

    make: Callable[..., Any]
    match info["type"]:
        case "service_account":
            make = service_account.Credentials.from_service_account_info
        case "authorized_user":  # for what the user has allowed
            return credentials.Credentials.from_authorized_user_info(info)  # type: ignore[no-untyped-call]
        case "impersonated_service_account":
            make = impersonated_credentials.Credentials.from_impersonated_service_account_info
        case "external_account":  # workload identity
            source = info["credential_source"]
            kind = aws if "environment_id" in source else pluggable if "executable" in source else identity_pool
            make = kind.Credentials.from_info
        case _:
            raise ValueError
    return make(info, scopes=_SCOPES)

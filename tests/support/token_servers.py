"""A server that gives access tokens for keys of service accounts, as Google's does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_GRANTS = "urn:ietf:params:oauth:grant-type:"


class TokenServer:
    """A running server.

    Attributes:
        tokens: The tokens that it gave.
        seconds: How long the next ones are valid.
        status: The status of its answers.
        error: What it answers instead of a token.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.seconds = 3600
        self.status = 200
        self.error: dict[str, str] = {}
        self.port = 0
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def service_account(self) -> dict[str, str]:
        """Returns the key of a service account."""
        return {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": "1",
            "private_key": self._key,
            "client_email": "test@test.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": self.url,
        }

    def answer(self, asked: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if self.status != 200:
            return self.status, self.error
        assert asked["grant_type"][0].removeprefix(_GRANTS) in ("jwt-bearer", "token-exchange")
        self.tokens.append(f"token-{len(self.tokens)}")
        answer = {"access_token": self.tokens[-1], "expires_in": self.seconds, "token_type": "Bearer"}
        return 200, {**answer, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Starts a server, and stops it at the end."""
    one = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = one.answer(parse_qs(body))
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, name="tokens", daemon=True)
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()

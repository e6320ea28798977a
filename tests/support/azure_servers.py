"""Servers of Azure Blob Storage for the tests: Azurite from npm, and a strict one of our own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from s3_servers import free_ports, running, wait_until
from strict_azure import ACCOUNT, KEY, StrictAzure, strict_azure_server

AZURITE = "3.37.0"
_FOLDER = Path(sys.prefix) / "azurite" / AZURITE
_PUBLIC_ACCOUNT = "devstoreaccount1"
_PUBLIC_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient


class AzureServer:
    """A running server.

    Attributes:
        name: The name of the server, for tests that depend on it.
        strict: The strict server itself, with its log and its faults; None for Azurite.
        port: Its port on 127.0.0.1.
        account: The name of its account.
        key: The key of its account.
        endpoint_url: The address of its account.
        connection_string: All of these as one text.
        options: `storage_options` that let in.
        environment: Variables that let in.
        lacks: Abilities that it lacks, and that inhaul does not need.
        service: A client of azure-storage-blob, to look at the server without inhaul.
    """

    def __init__(self, name: str, port: int, account: str, key: str, strict: StrictAzure | None = None) -> None:
        from azure.storage.blob import BlobServiceClient  # noqa: PLC0415 - takes time, and most tests need no Azure

        self.name = name
        self.strict = strict
        self.port = port
        self.account = account
        self.key = key
        self.endpoint_url = f"http://127.0.0.1:{port}/{account}"
        self.connection_string = (
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={self.endpoint_url};"
        )
        self.options = {"account_name": account, "account_key": key}
        self.environment = {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}
        self.lacks = set() if strict else {"state the MD5 of a block"}
        self.service = BlobServiceClient.from_connection_string(self.connection_string)

    @property
    def shared_bucket(self) -> str:
        """A new bucket for each test: that is fast here."""
        return self.bucket()

    def bucket(self) -> str:
        """Returns a new, empty container."""
        name = f"test-{uuid4().hex[:12]}"
        self.service.create_container(name)
        return name

    def client(self, container: str) -> "ContainerClient":
        """Returns a client of a container."""
        return self.service.get_container_client(container)

    def put(self, container: str, name: str, data: bytes) -> None:
        """Stores a blob, or replaces it."""
        self.client(container).upload_blob(name, data, overwrite=True)

    def remove(self, container: str, name: str) -> None:
        """Removes a blob."""
        self.client(container).delete_blob(name)

    def content(self, container: str, name: str) -> bytes:
        """Returns the content of a blob."""
        return self.client(container).download_blob(name).readall()

    def contents(self, container: str, prefix: str = "") -> dict[str, bytes]:
        """Returns the content of all blobs whose name starts with a prefix."""
        names = list(self.client(container).list_blob_names(name_starts_with=prefix))
        return {name: self.content(container, name) for name in names}

    def uncommitted(self, container: str, name: str) -> list[str]:
        """Returns the ids of the uncommitted blocks of a blob, as the client decodes them."""
        _, blocks = self.client(container).get_blob_client(name).get_block_list("uncommitted")
        return [block.id for block in blocks]


@contextmanager
def strict_azure(seed: int = 0) -> Iterator[AzureServer]:
    """Starts the strict server, and stops it at the end."""
    with strict_azure_server(seed) as strict, _closing(AzureServer("strict", strict.port, ACCOUNT, KEY, strict)) as one:
        yield one


@contextmanager
def azurite() -> Iterator[AzureServer]:
    """Starts Azurite, and stops it at the end. Without npm, skips the test."""
    if missing := _azurite_missing():
        pytest.skip(missing)
    (port,) = free_ports(1)
    command = [_azurite(), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running(command, dict(os.environ)):
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close())
        with _closing(AzureServer("azurite", port, _PUBLIC_ACCOUNT, _PUBLIC_KEY)) as server:
            yield server


@cache
def _azurite_missing() -> str | None:
    """Installs Azurite below .venv if it is nowhere, and returns in one line why it cannot run; else None."""
    if shutil.which("npm") is None:
        return "Azurite needs npm: run `apt-get install npm` to test with it"
    if not _installed():
        _FOLDER.parent.mkdir(exist_ok=True)
        # Several processes may install it at once: the first one to end wins.
        with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as folder:
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, f"azurite@{AZURITE}"]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode != 0:
                return f"`npm install azurite@{AZURITE}` failed: {' '.join(made.stderr.split())[-200:]}"
            with suppress(OSError):
                Path(folder).rename(_FOLDER)
            Path(folder).mkdir(exist_ok=True)
    return None


def _installed() -> bool:
    return Path(_azurite()).exists()


def _azurite() -> str:
    """Returns the program: the one in PATH, or the one below .venv, existing or not."""
    return shutil.which("azurite-blob") or str(_FOLDER / "node_modules" / ".bin" / "azurite-blob")


@contextmanager
def _closing(server: AzureServer) -> Iterator[AzureServer]:
    with server.service:
        yield server

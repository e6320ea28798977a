"""The fixtures for tests of storage on Azure. Only these load them: importing the client of Microsoft takes time."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from azure_places import Place
from azure_servers import AzureServer, azurite, azurite_missing, strict_azure
from proxy import proxy


@pytest.fixture(scope="session")
def strict_azure_server() -> Iterator[AzureServer]:
    """The strict server."""
    with strict_azure() as server:
        yield server


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzureServer]:
    """Azurite, where there is npm."""
    if missing := azurite_missing():
        pytest.skip(missing)
    with azurite() as server:
        yield server


@pytest.fixture(params=["strict_azure", "azurite"])
def azure_server(request: pytest.FixtureRequest) -> AzureServer:
    """Each server of Azure Blob Storage."""
    server: AzureServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def azure_root(azure_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder of a container, with its credentials in the environment."""
    for name, value in azure_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"az://{azure_server.container()}/{uuid4().hex[:12]}?endpoint_url={azure_server.endpoint_url}"


@pytest.fixture
def azure_place(azure_server: AzureServer) -> Iterator[Place]:
    """An empty folder of a container, behind a proxy."""
    with proxy(azure_server.port) as one:
        yield Place(azure_server, azure_server.container(), uuid4().hex[:12], one)


@pytest.fixture
def strict_azure_place(strict_azure_server: AzureServer) -> Iterator[Place]:
    """An empty folder of a container on the strict server, behind a proxy."""
    with proxy(strict_azure_server.port) as one:
        yield Place(strict_azure_server, strict_azure_server.container(), uuid4().hex[:12], one)

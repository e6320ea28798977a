"""Options of the benches that run under pytest."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How large the corpora are."""
    parser.addoption("--scale", type=float, default=1, help="of the corpora; 1 is their full size")

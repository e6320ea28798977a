"""The page of settings in the documentation lists all of them."""

import inspect
import re
from pathlib import Path

import inhaul

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text()


def _source() -> str:
    files = [*Path(inhaul.__file__).parent.rglob("*.py"), *(ROOT / "rust").rglob("*.rs")]
    return "\n".join(file.read_text() for file in files)


def test_the_page_lists_every_field_of_settings_and_every_argument_of_connect() -> None:
    assert [name for name in inhaul.settings.read() if f"| `{name}` |" not in PAGE] == []
    assert [name for name in inspect.signature(inhaul.connect).parameters if f"connect({name}=)" not in PAGE] == []


def test_the_page_lists_every_variable_that_inhaul_reads() -> None:
    source = _source()
    variables = {*re.findall(r"INHAUL_[A-Z_]*[A-Z]", source), *re.findall(r'(?:environ|_text).*?"([A-Z_]+)"', source)}
    assert {"INHAUL_STORAGE", "INHAUL_HASH_BACKEND", "XDG_CACHE_HOME", "TMPDIR"} <= variables
    assert [name for name in variables if name not in PAGE and not name.startswith("AWS_")] == []

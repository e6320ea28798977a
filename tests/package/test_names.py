"""The public names are one list, `inhaul.__all__`, and everything else that names them agrees with it."""

import ast
import re
from pathlib import Path

import inhaul

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_type_checkers_see_each_public_name_where_it_is_at_run_time() -> None:
    tree = ast.parse(Path(inhaul.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    homes = {alias.name: node.module for node in imports for alias in node.names}
    assert [name for name in inhaul.__all__ if name not in homes] == []
    assert [name for name in inhaul.__all__ if homes[name] != inhaul._HOME_OF.get(name, homes[name])] == []


def test_the_reference_describes_each_public_name() -> None:
    text = "\n".join(page.read_text() for page in REFERENCE.glob("*.md") if page.name != "sync.md")
    described = re.findall(r"auto(?:class|function):: (?:[\w.]*\.)?(\w+)", text)
    assert [name for name in inhaul.__all__ if name not in (*described, "settings")] == []

"""The README's examples run as printed, and print what it says; those of docstrings run."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import inhaul
import inhaul.sync

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\s*^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)

DATA = {
    "notes/first.txt": "three mice\n",
    "notes/second.txt": "one escaped\n",
    "weights.csv": "mouse,weight\na,21.5\nb,19.8\nc,23.1\n",
}


def test_examples_print_what_the_readme_says(tmp_path: Path) -> None:
    text = README.read_text()
    examples = EXAMPLE.findall(text)
    assert len(examples) == text.count("```python") > 0

    for name, content in DATA.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    for code, output in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout == output


@pytest.mark.parametrize("module", [inhaul, inhaul.sync])
def test_examples_of_docstrings_run(module: ModuleType, tmp_path: Path) -> None:
    (block,) = re.findall(r"::\n\n((?:    .*\n|\n)+)", inspect.getdoc(module) or "")
    code = textwrap.indent(textwrap.dedent(block), "    ")
    script = f"import asyncio\nasync def main():\n{code}\n    print(len(artifacts))\nasyncio.run(main())\n"
    if module is inhaul.sync:
        script = textwrap.dedent(block) + "print(len(artifacts))\n"
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "1.csv").write_text("a\n1\n")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_the_files_that_contributing_names_exist() -> None:
    root = README.parent
    section = (root / "CONTRIBUTING.md").read_text().split("## Where things are decided")[1].split("\n## ")[0]
    named = [path for line in section.splitlines()[4:] for path in re.findall(r"`([\w/]+\.(?:py|rs))`", line)]
    assert len(named) > 10
    places = (root, Path(inhaul.__file__).parent)
    missing = [path for path in named if not any((place / path).exists() for place in places)]
    assert missing == []

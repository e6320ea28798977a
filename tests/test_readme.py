"""The README's examples run as printed, and print what it says."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
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

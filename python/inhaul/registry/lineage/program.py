"""What this process runs: a script or a notebook, and a name for it that is the same wherever its project lies."""

import configparser
import os
import sys
from pathlib import Path
from typing import NamedTuple

from inhaul.keys import OBJECTS


class Program(NamedTuple):
    """A name, and a type as transforms have it."""

    name: str
    type: str


def program(registry: Path | None) -> Program:
    """The script or notebook that this process runs. Looks at the disk.

    Args:
        registry: The file of the registry database, None for one on a server.

    Raises:
        ValueError: It is neither.
    """
    main = sys.modules["__main__"]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and "IPKernelApp" in shell.config:
        # Jupyter and Visual Studio Code tell the kernel where the notebook is, others do not.
        told = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or "notebook"
        # A relative path is so to a folder that only Jupyter knows; the kernel runs in that of the notebook.
        path = Path(told) if Path(told).is_absolute() else Path.cwd() / Path(told).name
        return Program(name_of(path, registry) if path.is_file() else path.name, "notebook")
    if not getattr(main, "__file__", None):
        raise ValueError('There is no script or notebook to track: pass Transform("what runs", type="pipeline")')
    return Program(name_of(Path(str(main.__file__)), registry), "script")


def name_of(path: Path, registry: Path | None) -> str:
    """A name for a file: no other file has it, and in a copy of its project it has the same.

    In a git work tree it is the path there, after the name of the repository unless the registry lies in it, too. Else
    it is the path from the folder of the registry, if the file lies below that or beside it, as a storage folder lies
    in a project. Of any other file it is the whole path.

    Args:
        path: The file.
        registry: The file of the registry database, None for one on a server.
    """
    path = path.resolve()
    home = registry.resolve().parent if registry is not None else None
    if home is not None and home.name == OBJECTS:
        home = home.parent
    tree = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if tree is not None:
        inside = path.relative_to(tree).as_posix()
        return inside if home is not None and home.is_relative_to(tree) else f"{_repository(tree)}/{inside}"
    if home is not None and path.is_relative_to(home.parent):
        return Path(os.path.relpath(path, home)).as_posix()
    return str(path)


def _repository(tree: Path) -> str:
    """The name of a git repository: that of what it was cloned from, else that of its folder."""
    config = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        config.read(_common_folder(tree) / "config", "utf-8")
        origin = config.get('remote "origin"', "url", fallback=None)
    except (OSError, ValueError, configparser.Error):  # it is not as git writes it
        origin = None
    name = (origin or "").rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    return name or tree.name


def _common_folder(tree: Path) -> Path:
    """Where a work tree has the configuration of its repository: a linked one has it elsewhere."""
    git = tree / ".git"
    if git.is_dir():
        return git
    own = tree / git.read_text().removeprefix("gitdir:").strip()
    common = own / "commondir"
    return own / common.read_text().strip() if common.exists() else own

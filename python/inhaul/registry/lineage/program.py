"""Names the script or notebook of this process. The name does not depend on the location of its project."""

import configparser
import os
import sys
from pathlib import Path
from typing import NamedTuple

from inhaul.keys import OBJECTS


class Program(NamedTuple):
    """The name and the type for a transform."""

    name: str
    type: str


def program(registry: Path | None) -> Program:
    """Returns the script or notebook of this process. Reads from disk.

    Args:
        registry: The file of the registry database, None for one on a server.

    Raises:
        ValueError: The process runs neither.
    """
    main = sys.modules["__main__"]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and "IPKernelApp" in shell.config:
        # Only Jupyter and Visual Studio Code pass the path of the notebook to the kernel.
        told = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or "notebook"
        # A relative path starts at a folder that only Jupyter knows. The kernel runs in the folder of the notebook.
        path = Path(told) if Path(told).is_absolute() else Path.cwd() / Path(told).name
        return Program(name_of(path, registry) if path.is_file() else path.name, "notebook")
    if not getattr(main, "__file__", None):
        raise ValueError('There is no script or notebook to track: pass Transform("its name", type="pipeline")')
    return Program(name_of(Path(str(main.__file__)), registry), "script")


def name_of(path: Path, registry: Path | None) -> str:
    """Returns a unique name for a file, which stays the same in a copy of its project.

    In a git work tree, the name is the path in the tree. If the registry lies outside the tree, the name of the
    repository comes first. Otherwise, for a file below the parent of the registry's folder, it is the path relative to
    the registry's folder. For any other file, it is the whole path.

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
    """Returns the name of a git repository: the name of its origin, else of its folder."""
    config = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        config.read(_common_folder(tree) / "config", "utf-8")
        origin = config.get('remote "origin"', "url", fallback=None)
    except (OSError, ValueError, configparser.Error):  # the file is not in git's format
        origin = None
    name = (origin or "").rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    return name or tree.name


def _common_folder(tree: Path) -> Path:
    """Returns the folder with the configuration of the repository, which a linked work tree shares."""
    git = tree / ".git"
    if git.is_dir():
        return git
    own = tree / git.read_text().removeprefix("gitdir:").strip()
    common = own / "commondir"
    return own / common.read_text().strip() if common.exists() else own

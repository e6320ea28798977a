"""Writes `python/inhaul/sync/__init__.pyi`, the types of the blocking API, from the source of the async one.

The file declares every class with a twin, so this program imports the package. With `--check` the program writes
nothing, and fails if the file is out of date.
"""

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import inhaul
import inhaul.sync  # which makes the twins
from inhaul._blocking import twins

PACKAGE = Path(__file__).parent.parent / "python" / "inhaul"
STUB = PACKAGE / "sync" / "__init__.pyi"
TWINNED = {cls.__name__ for cls in twins}
SHARED = {"core"}  # what the module has beside the public names
ORIGINS = {
    "Iterator": "from collections.abc import Iterator",
    "Mapper": "from sqlalchemy.orm import Mapper",
    "overload": "from typing import overload",
}
HEAD = "# Made by tools/sync_stub.py from the async API.\n"

_HIDDEN = {"ManyToMany"}  # its instances are properties in the stub
_RENAMED = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__"}

# Attributes that the twin and SQLAlchemy add to a class.
MEMBERS = {
    "Registry": """
__mapper__: Mapper[Any]
__table__: Table
""",
    "QuerySet": """
@overload
def __getitem__(self, part: int) -> R: ...
@overload
def __getitem__(self, part: slice) -> Self: ...
""",
}


class Module:
    """A source module: its syntax tree, and where the names in it come from."""

    def __init__(self, name: str) -> None:
        path = PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
        self.tree = ast.parse(path.read_text())
        self.origins: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    source = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
                    self.origins[alias.asname or alias.name] = f"{source}import {ast.unparse(alias)}"
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef):
                self.origins[node.name] = f"from {name} import {node.name}"
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.origins[node.targets[0].id] = f"from {name} import {node.targets[0].id}"

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yields the classes that have twins, and the descriptors that return such classes."""
        classes = (node for node in self.tree.body if isinstance(node, ast.ClassDef))
        for node in classes:
            is_descriptor = any(_name(member) == "__get__" for member in node.body)
            if node.name in TWINNED or (is_descriptor and node.name not in _HIDDEN):
                yield node

    def assigned(self, name: str) -> ast.Assign:
        """The statement that gives a name its value."""
        return next(
            node for node in self.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        )

    def type_variables(self) -> dict[str, ast.Assign]:
        return {
            node.targets[0].id: node
            for node in self.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _called(node) == "TypeVar"
        }


def _called(node: ast.Assign) -> str:
    """The name that an assigned value is a call of: `Field` for `x = Field[int]()`."""
    function = node.value.func if isinstance(node.value, ast.Call) else None
    function = function.value if isinstance(function, ast.Subscript) else function
    return function.id if isinstance(function, ast.Name) else ""


def _bounds(variable: ast.Assign) -> list[str]:
    """Returns the bound of a type variable, if it has one."""
    keywords = variable.value.keywords if isinstance(variable.value, ast.Call) else []
    return [ast.unparse(keyword.value).strip("'") for keyword in keywords if keyword.arg == "bound"]


def _name(node: ast.stmt) -> str | None:
    return node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return node.body[:1] if ast.get_docstring(node) is not None else []


def _is_overload(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(ast.unparse(item) == "overload" for item in node.decorator_list)


def _declared(body: list[ast.stmt], more: list[ast.stmt]) -> list[ast.stmt]:
    """Leaves out implementations of overloaded functions. Their docstrings move to the first overloads."""
    overloads = {_name(one): one for one in reversed([*body, *more]) if _is_overload(one)}
    for one in body:
        first = overloads.get(_name(one))
        if isinstance(one, ast.FunctionDef) and isinstance(first, ast.FunctionDef) and not _is_overload(one):
            first.body = [*_docstring(one), *first.body]
    return [one for one in body if _is_overload(one) or _name(one) not in overloads]


class Blocking(ast.NodeTransformer):
    """Turns async declarations into those of the twin.

    Args:
        renamed: Names that differ in the stub.
    """

    def __init__(self, renamed: dict[str, str]) -> None:
        self._renamed = renamed

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        more = ast.parse(MEMBERS.get(node.name, "")).body
        declared = _declared(node.body, more)
        members = [kept for member in (*declared, *more) if (kept := self.visit(member)) is not None]
        members = [*_docstring(node), *members]
        name = self._renamed.get(node.name, node.name)
        bases = [self.visit(base) for base in node.bases]
        return ast.ClassDef(name, bases, [], members or [ast.Expr(ast.Constant(...))], [])

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.FunctionDef | None:
        special = node.name.startswith("__") and node.name.endswith("__")
        if node.name == "__await__" or (node.name.startswith("_") and not special):
            return None
        name, returns = _RENAMED.get(node.name, node.name), self.visit(node.returns) if node.returns else None
        if isinstance(returns, ast.Subscript) and ast.unparse(returns.value) in ("AsyncIterator", "AsyncGenerator"):
            returns = ast.Subscript(ast.Name("Iterator"), returns.slice)
        decorators = [item for item in node.decorator_list if not isinstance(item, ast.Call)]
        arguments = self.visit(node.args)
        body = [*_docstring(node), ast.Expr(ast.Constant(...))]
        return ast.FunctionDef(name, arguments, body, decorators, returns)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        (target,) = node.targets
        if not isinstance(target, ast.Name) or not isinstance(node.value, ast.Call):
            return None
        if _called(node) == "ManyToMany":
            registry = ast.literal_eval(node.value.args[1])
            text = f"@property\ndef {target.id}(self) -> Related[{registry}]: ..."
            return self.visit(ast.parse(text).body[0])  # type: ignore[no-any-return]
        return ast.AnnAssign(target, self.visit(node.value.func), None, 1)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign | None:
        """Leaves private attributes out."""
        return node if ast.unparse(node.target).startswith("__") else None

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leaves docstrings out, which `_docstring` takes as they are."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return node
        return self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        for argument in (*node.posonlyargs, *node.args, *node.kwonlyargs, node.vararg, node.kwarg):
            if argument is not None and argument.annotation is not None:
                argument.annotation = self.visit(argument.annotation)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Removes the quotes, as a stub may refer to names that it declares later."""
        return self.visit(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._renamed.get(node.id, node.id))


def make() -> str:
    """The stub."""
    package = Module("inhaul.__init__")
    names = package.assigned("__all__")
    public = ast.literal_eval(names.value)
    functions = (one for name in public if isinstance(one := getattr(inhaul, name), FunctionType))
    modules = [Module(name) for name in dict.fromkeys(one.__module__ for one in (*twins, *functions))]
    own = Module("inhaul.sync.__init__")
    private = {name: f"_{name}" for name in TWINNED if name not in public}

    body: list[ast.stmt] = [names]
    origins = package.origins | ORIGINS
    for module in modules:
        origins |= module.origins
        variables = module.type_variables()
        for cls in module.classes():
            used = {node.id for node in ast.walk(cls) if isinstance(node, ast.Name)}
            renamed = {name: f"_{cls.name}{name}" for name in variables if name in used}
            for name, new in renamed.items():
                bounds = [f", bound={private.get(bound, bound)!r}" for bound in _bounds(variables[name])]
                body += ast.parse(f"{new} = TypeVar({new!r}{''.join(bounds)})").body
            body.append(Blocking(private | renamed).visit(cls))
        body += [Blocking(private).visit(node) for node in _declared(module.tree.body, []) if _name(node) in public]
    origins |= own.origins
    body += [Blocking(private).visit(node) for node in own.tree.body if isinstance(node, ast.ClassDef)]

    tree = ast.fix_missing_locations(ast.Module(body, []))
    declared = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    declared |= {ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)}
    for node in body:  # attributes of classes, which setters and annotations use
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            declared |= {ast.unparse(member.target)} if isinstance(member, ast.AnnAssign) else {_name(member) or ""}
    needed = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | set(public) | SHARED
    needed -= declared | set(dir(builtins))
    imports = sorted({origins[name] for name in needed})
    return _formatted(HEAD + "\n".join(imports) + "\n\n" + ast.unparse(tree))


def _formatted(text: str) -> str:
    for command in (["check", "--quiet", "--fix-only", "--select", "I"], ["format", "--quiet"]):
        ruff = [str(Path(sys.executable).parent / "ruff"), *command, "--stdin-filename", str(STUB), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=PACKAGE).stdout
    return text


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        STUB.write_text(make())
    elif make() != STUB.read_text():
        sys.exit(f"{STUB} is not up to date: run python tools/sync_stub.py")

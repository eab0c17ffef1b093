"""Digests of code: what a rule calls, so that a changed module reruns exactly what depends on it.

A digest covers the syntax tree, without docstrings, of a module and of every module of conn that it imports,
and of the script that calls it. Comments and prose change nothing. Data files of a package (the registry,
templates) count where the package that holds them is imported.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = "conn"
ROOT = Path(__file__).parent
APART = {"conn.config", "conn.config.load", "conn.config.model", "conn.errors"}
"""Modules whose changes alter messages; settings reach a rule as its parameters, defaults included."""


@cache
def _file(module: str) -> Path | None:
    """File of a module of conn, by its name alone: asking the import system would import its parents."""
    path = ROOT.joinpath(*module.split(".")[1:])
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@cache
def _tree(path: Path) -> ast.Module:
    return _without_docstrings(ast.parse(path.read_text(encoding="utf-8")))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [s for s in node.body if not _is_text(s)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@cache
def _imports(module: str) -> frozenset[str]:
    path = _file(module)
    if path is None:
        return frozenset()
    found: set[str] = set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            found |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return frozenset(n for n in found if n.split(".")[0] == PACKAGE and _file(n) is not None) - {PACKAGE}


def closure(module: str) -> tuple[str, ...]:
    """A module and all modules of conn that it imports, directly or not, sorted."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in APART:
            seen.add(name)
            waiting += _imports(name)
    return tuple(sorted(seen))


@cache
def code(module: str, script: Path | None = None) -> str:
    """Digest of the code that a module calls.

    Parameters
    ----------
    module
        Full name, such as ``conn.stages.project``.
    script
        File that calls it.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for name in closure(module):
        sha.update(name.encode() + _digest(name))
    if script is not None:
        sha.update(ast.dump(_tree(script)).encode())
    return sha.hexdigest()[:16]


@cache
def _digest(module: str) -> bytes:
    """Digest of one module, and of the data files of the package when it is one."""
    path = _file(module)
    assert path is not None
    sha = hashlib.sha256(ast.dump(_tree(path)).encode())
    if path.name == "__init__.py":
        for extra in _data_files(path.parent):
            sha.update(extra.relative_to(path.parent).as_posix().encode() + extra.read_bytes())
    return sha.digest()


def _data_files(package: Path) -> list[Path]:
    """All files below a package that hold no Python."""
    return sorted(
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and not path.name.startswith(".")
    )

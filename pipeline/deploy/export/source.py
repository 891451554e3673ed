"""The code that an exported folder needs, and no more: definitions reached from an entry point.

A whole package would bring scikit-learn and pandas along for functions that only fit. So not
modules are followed but the definitions in them: a function, class or constant is taken where a
name in one that is taken refers to it. Names are read from the text, which is safe as long as
modules do nothing at import but define, as ours do.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pipeline

ROOT = Path(pipeline.__file__).parent
OWN, GIVEN = "pipeline", "podium"  # the package here, and its name in an exported folder


@dataclass(eq=False)
class Module:
    """A module of ours: its statements, and which of them and of its imports are taken."""

    name: str
    path: Path
    taken: set[int] = field(default_factory=set)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # taken: (module, name)

    @classmethod
    def of(cls, name: str) -> "Module":
        place = ROOT.joinpath(*name.split(".")[1:])
        return cls(name, place / "__init__.py" if place.is_dir() else place.with_suffix(".py"))

    @cached_property
    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def body(self) -> list[ast.stmt]:
        return ast.parse("\n".join(self.lines)).body

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """What each imported name is: (module, name in it), or (module, '') for a module."""
        return {name: source for stmt in self.body for name, source in _imported(stmt)}

    @cached_property
    def defined(self) -> dict[str, list[int]]:
        """By name, the statements that define it."""
        found: dict[str, list[int]] = {}
        for number, stmt in enumerate(self.body):
            for name in _defined(stmt):
                found.setdefault(name, []).append(number)
        return found

    @property
    def text(self) -> str:
        """The module with what is taken alone, under the given package's name."""
        parts = [ast.get_docstring(ast.parse("\n".join(self.lines)), clean=False) or ""]
        parts = [f'"""{parts[0]}"""'] if parts[0] else []
        if self.imports:
            parts.append("\n".join(_import_lines(self.imports)))
        parts += [self._segment(self.body[number]) for number in sorted(self.taken)]
        return re.sub(rf"\bfrom {OWN}\.", f"from {GIVEN}.", "\n\n\n".join(parts)) + "\n"

    def _segment(self, stmt: ast.stmt) -> str:
        decorators = getattr(stmt, "decorator_list", [])
        first = min(node.lineno for node in (stmt, *decorators)) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(self.lines[first : stmt.end_lineno])


@dataclass(frozen=True)
class Source:
    """Files by their path below the folder, and the packages of others that they import."""

    files: dict[str, str]
    packages: tuple[str, ...]


def closure(module: str, name: str) -> Source:
    """Return all code that `name` of `module` needs, as a package of its own, named `GIVEN`."""
    modules: dict[str, Module] = {}
    packages: set[str] = set()
    _take(module, name, modules, packages)
    files = {}
    for one in modules.values():
        if not one.taken:  # it only passed a name on
            continue
        files[_place(one.name)] = one.text
        parents = one.name.split(".")[:-1]
        for depth in range(1, len(parents) + 1):
            files.setdefault(_place(".".join(parents[:depth]), is_package=True), "")
    return Source(dict(sorted(files.items())), tuple(sorted(packages)))


def _take(module: str, name: str, modules: dict[str, Module], packages: set[str]) -> str:
    """Take the definition of a name and all that it needs; return the module that defines it."""
    here = modules.setdefault(module, Module.of(module))
    if name not in here.defined:
        if name not in here.imported:
            raise ValueError(f"{module}: {name!r} is neither defined nor imported at its top")
        return _take(*here.imported[name], modules, packages)
    for number in here.defined[name]:
        if number in here.taken:
            continue
        here.taken.add(number)
        for used in _names(here.body[number]):
            if used in here.defined:
                _take(module, used, modules, packages)
            elif used in here.imported:
                here.imports[used] = _take_import(here.imported[used], modules, packages)
        for node in ast.walk(here.body[number]):
            for _, source in _imported(node):
                _take_import(source, modules, packages)
    return module


def _take_import(
    source: tuple[str, str], modules: dict[str, Module], packages: set[str]
) -> tuple[str, str]:
    """Take what an import brings; return where it really comes from."""
    module, name = source
    top = module.partition(".")[0]
    if top == OWN:
        if not name or Module.of(f"{module}.{name}").path.is_file():
            raise ValueError(f"{module} {name}: import names from modules, not modules")
        return _take(module, name, modules, packages), name
    if top not in sys.stdlib_module_names:
        packages.add(top)
    return source


def _names(stmt: ast.stmt) -> list[str]:
    return sorted({node.id for node in ast.walk(stmt) if isinstance(node, ast.Name)})


def _imported(stmt: ast.AST) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each name that an import statement binds, and where from."""
    if isinstance(stmt, ast.Import):
        for alias in stmt.names:
            yield alias.asname or alias.name.partition(".")[0], (alias.name, "")
    elif isinstance(stmt, ast.ImportFrom):
        for alias in stmt.names:
            yield alias.asname or alias.name, (stmt.module or "", alias.name)


def _defined(stmt: ast.stmt) -> list[str]:
    if isinstance(stmt, ast.FunctionDef | ast.ClassDef):
        return [stmt.name]
    targets = stmt.targets if isinstance(stmt, ast.Assign) else [getattr(stmt, "target", None)]
    return [node.id for t in targets if t for node in ast.walk(t) if isinstance(node, ast.Name)]


def _import_lines(imports: dict[str, tuple[str, str]]) -> list[str]:
    lines = []
    for bound, (module, name) in imports.items():
        plain = bound == (name or module.partition(".")[0])
        renamed = "" if plain else f" as {bound}"
        lines.append((f"from {module} import {name}" if name else f"import {module}") + renamed)
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _place(module: str, is_package: bool = False) -> str:
    parts = [GIVEN, *module.split(".")[1:]]
    return "/".join(parts) + ("/__init__.py" if is_package else ".py")

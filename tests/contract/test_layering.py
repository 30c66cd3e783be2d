"""Rules of the sources that neither ruff nor import-linter can state, read from the syntax; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = ("detection", "scanner", "registry")
PACKAGES = {
    "securenet_core": REPOSITORY / "shared/core",
    "securenet_flows": REPOSITORY / "shared/flows",
    "securenet_client": REPOSITORY / "shared/client",
    **{f"securenet_{service}": REPOSITORY / "services" / service for service in SERVICES},
}
#: Where a service meets what is outside of it.
EDGE = {"server", "convert", "container", "__main__", "policy"}
#: How an adapter's file begins; its name says which library it alone imports.
ADAPTERS = ("grpc_", "joblib_", "mlflow_", "onnx_", "prometheus_", "skops_", "sqlalchemy_")
#: Programs that run in a process of their own, and put their parts together as container.py does for the service.
PROGRAMS = {"worker", "process", "inspector", "checks"}
#: Names that say nothing of what a module owns.
NAMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc", "shared", "tools"}


@cache
def modules(package: str) -> tuple[Path, ...]:
    """Every source file of a package, but migrations, which are a record and not code."""
    folder = PACKAGES[package] / package
    return tuple(path for path in sorted(folder.rglob("*.py")) if "migrations" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def is_domain(path: Path) -> bool:
    at_the_edge = path.stem in EDGE | PROGRAMS or path.parent.name in EDGE
    return not at_the_edge and not path.stem.startswith(ADAPTERS)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of what a module imports when it runs, not what it names for types alone."""

    def visit(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(tree(path))


def docstring_lines(module: ast.Module) -> set[int]:
    first = module.body[0] if module.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


@pytest.mark.parametrize("service", SERVICES)
def test_the_domain_does_not_know_its_edge(service: str) -> None:
    package = f"securenet_{service}"
    wrong = []
    for path in modules(package):
        if not is_domain(path):
            continue
        for line, name in imported_modules(path):
            parts = name.split(".")
            if parts[0] != package:
                continue
            stems = parts[1:]
            if any(stem in EDGE or stem.startswith(ADAPTERS) for stem in stems):
                wrong.append(f"{name_of(path)}:{line}: {name}")
    assert not wrong, "domain modules import adapters; state a port beside the code that uses it:\n" + "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_named_for_what_it_owns(package: str) -> None:
    folder = PACKAGES[package] / package
    found = [name_of(path) for path in folder.rglob("*") if path.stem.strip("_") in NAMELESS]
    assert not found


@pytest.mark.parametrize("service", SERVICES)
def test_a_servicer_catches_nothing(service: str) -> None:
    # Errors are mapped in one place, by the core's call steps.
    path = PACKAGES[f"securenet_{service}"] / f"securenet_{service}" / "server.py"
    handlers = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    assert not handlers, f"{name_of(path)}: except at lines {handlers}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_program_only_starts_what_others_build(service: str) -> None:
    path = PACKAGES[f"securenet_{service}"] / f"securenet_{service}" / "__main__.py"
    prose = docstring_lines(tree(path))
    code = [
        number
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if line.strip() and number not in prose
    ]
    assert len(code) <= 20


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_explained(service: str) -> None:
    bare = []
    paths = sorted((PACKAGES[f"securenet_{service}"] / f"securenet_{service}").glob("*settings.py"))
    assert paths
    for path, node in ((file, node) for file in paths for node in ast.walk(tree(file))):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and not (
                isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            ):
                bare.append(f"{name_of(path)}:{statement.lineno}: {ast.unparse(statement.target)}")
    assert not bare, "settings without a docstring below them:\n" + "\n".join(bare)


@pytest.mark.parametrize("service", SERVICES)
def test_wiring_is_all_that_a_container_holds(service: str) -> None:
    path = PACKAGES[f"securenet_{service}"] / f"securenet_{service}" / "container.py"
    loops = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
    assert not loops, f"{name_of(path)}: loops at lines {loops}; a container puts together, it does not compute"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (PACKAGES[package] / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [name_of(path) for path in modules(package) if tree(path).body and not ast.get_docstring(tree(path))]
    assert not silent


def test_a_test_file_says_of_which_kind_it_is() -> None:
    silent = []
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        marks = [
            statement
            for statement in tree(path).body
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
        ]
        kinds = ("unit", "integration", "e2e")
        if not any(f"pytest.mark.{kind}" in ast.unparse(mark.value) for mark in marks for kind in kinds):
            silent.append(name_of(path))
    assert not silent, "pytestmark names none of unit, integration, e2e:\n" + "\n".join(silent)


def test_test_files_have_paths_of_their_own() -> None:
    packages = [name_of(path) for path in (REPOSITORY / "tests").rglob("__init__.py")]
    assert not packages, "tests are imported by path; __init__.py would make packages of their folders"

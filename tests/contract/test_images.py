"""What each deployable installs, and that it imports nothing else. Read from locks and sources; no container needed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).resolve().parents[2]
MEMBERS = {
    "securenet-contracts": "shared/generated",
    "securenet-core": "shared/core",
    "securenet-flows": "shared/flows",
    "securenet-client": "shared/client",
    "securenet-detection": "services/detection",
    "securenet-scanner": "services/scanner",
    "securenet-registry": "services/registry",
}
DEPLOYABLES = ["shared/client", "services/detection", "services/scanner", "services/registry"]
#: Extras that the lock of a deployable includes, as tools/lock.sh exports it.
LOCKED_EXTRAS = {"shared/client": {"pcap", "plot"}}

DEVELOPMENT = {"pytest", "hypothesis", "ruff", "mypy", "grpcio-tools", "buf-bin", "import-linter", "uv", "hatchling"}
SERVERS = {"mlflow", "flask", "gunicorn", "waitress", "graphene"}
LEARNING = {"scikit-learn", "joblib", "skops", "onnx", "scipy", "pandas", "mlflow-skinny", "matplotlib"}
FORBIDDEN = {
    "services/detection": DEVELOPMENT | SERVERS | LEARNING | {"nfstream", "typer"},
    "services/scanner": DEVELOPMENT
    | SERVERS
    | LEARNING
    | {"numpy", "pyarrow", "numba", "llvmlite", "onnxruntime", "nfstream", "typer"},
    "services/registry": DEVELOPMENT | SERVERS | {"nfstream", "typer", "matplotlib"},
    "shared/client": DEVELOPMENT | SERVERS | (LEARNING - {"matplotlib", "pandas"}) | {"sqlalchemy", "onnxruntime"},
    "deploy/mlflow": DEVELOPMENT,
}


#: How the files begin that come with an extra as a whole: features are compiled with numba.
ADAPTERS = ("sqlalchemy_", "feature_", "kernel_", "nfstream_", "matplotlib_")


@dataclass(frozen=True, slots=True)
class Imported:
    """An import statement: where, what, and whether the module can do without it."""

    place: str
    name: str
    optional: bool


@dataclass(slots=True)
class Declared:
    """Distributions that a member may import, canonical names."""

    always: set[str] = field(default_factory=set)
    extras: set[str] = field(default_factory=set)


def locked(folder: str) -> dict[str, Version]:
    """Name and version of everything that the lock of a deployable pins."""
    text = (REPOSITORY / folder / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


@cache
def project(name: str) -> dict[str, list[str]]:
    """Requirements of a member: by extra, and by the empty string those without."""
    table = tomllib.loads((REPOSITORY / MEMBERS[name] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": table.get("dependencies", []), **table.get("optional-dependencies", {})}


def requirements(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Requirement]:
    """What a member with `extras` needs from elsewhere, also by way of the members that it declares."""
    for extra in ("", *sorted(extras)):
        for line in project(name).get(extra, []):
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate():
                continue
            if requirement.name in MEMBERS:
                yield from requirements(requirement.name, frozenset(requirement.extras))
            else:
                yield requirement


def members(name: str) -> set[str]:
    """The members that `name` declares, directly or by way of others, and itself."""
    found = {name}
    for line in project(name)[""]:
        declared = Requirement(line).name
        if declared in MEMBERS and declared not in found:
            found |= members(declared)
    return found


def declared_by(name: str) -> Declared:
    extras = frozenset(project(name)) - {""}
    always: set[str] = {canonicalize_name(requirement.name) for requirement in requirements(name)}
    anything: set[str] = {canonicalize_name(requirement.name) for requirement in requirements(name, extras)}
    return Declared(always | members(name), anything - always)


def sources(name: str) -> list[Path]:
    folder = REPOSITORY / MEMBERS[name]
    return [path for package in folder.glob("securenet*") for path in sorted(package.rglob("*.py"))]


def imports(path: Path) -> Iterator[Imported]:
    """Every absolute import of a module.

    Optional: inside a function, in a try that catches ImportError, and in a file of :data:`ADAPTERS`, since only those
    import it who asked for the extra.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    where = path.relative_to(REPOSITORY).as_posix()

    def visit(node: ast.AST, *, optional: bool) -> Iterator[Imported]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from visit(other, optional=optional)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(f"{where}:{node.lineno}", alias.name, optional)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                yield Imported(f"{where}:{node.lineno}", f"{node.module}.{alias.name}", optional)
        caught = isinstance(node, ast.Try) and any(
            handler.type is not None and "ImportError" in ast.unparse(handler.type) for handler in node.handlers
        )
        inside = optional or caught or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, optional=inside)

    yield from visit(tree, optional=path.name.startswith(ADAPTERS))


@cache
def installed() -> dict[str, set[str]]:
    """Distributions by the top-level package that they provide."""
    return {top: {canonicalize_name(name) for name in names} for top, names in packages_distributions().items()}


@cache
def files_of(name: str) -> tuple[str, ...]:
    """Every file of a distribution, relative to where it is installed."""
    return tuple(file.as_posix() for file in distribution(name).files or [])


@cache
def providers(imported: str) -> set[str]:
    """Distributions that an import may come from; of a namespace package, those that hold the part that is named."""
    parts = imported.split(".")
    found = set(installed().get(parts[0], ()))
    for depth in range(2, len(parts) + 1):
        if len(found) < 2:
            break
        stem = "/".join(parts[:depth])
        closer = {
            name
            for name in found
            if any(file.startswith((f"{stem}/", f"{stem}.py", f"{stem}.cpython")) for file in files_of(name))
        }
        if not closer:
            break
        found = closer
    return found


def owner(imported: str) -> str | None:
    """The member that an import names, if it is one of ours."""
    top = imported.partition(".")[0]
    if top in {"securenet", "buf"}:
        return "securenet-contracts"
    name = top.replace("_", "-")
    return name if name in MEMBERS else None


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "securenet-contracts"])
def test_a_member_imports_only_what_it_declares(name: str) -> None:
    declared = declared_by(name)
    wrong = []
    for path in sources(name):
        for imported in imports(path):
            if imported.name.partition(".")[0] in sys.stdlib_module_names:
                continue
            ours = owner(imported.name)
            found = {ours} if ours else providers(imported.name)
            if found & declared.always:
                continue
            if not found & declared.extras:
                wrong.append(f"{imported.place}: {imported.name} ({', '.join(sorted(found)) or 'nothing installed'})")
            elif not imported.optional:
                wrong.append(f"{imported.place}: {imported.name} comes with an extra; import it where it is used")
    assert not wrong, f"{MEMBERS[name]}/pyproject.toml does not declare:\n" + "\n".join(wrong)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_deployable_installs_nothing_of_others(folder: str) -> None:
    assert not FORBIDDEN[folder] & locked(folder).keys()


@pytest.mark.parametrize("folder", DEPLOYABLES)
def test_a_lock_satisfies_what_is_declared(folder: str) -> None:
    name = next(name for name, place in MEMBERS.items() if place == folder)
    pins = locked(folder)
    extras = frozenset(LOCKED_EXTRAS.get(folder, {"postgresql"}))
    wrong = [
        f"{requirement} (locked: {pins.get(canonicalize_name(requirement.name), 'not at all')})"
        for requirement in requirements(name, extras)
        if not requirement.specifier.contains(
            pins.get(canonicalize_name(requirement.name), Version("0.dev0")), prereleases=True
        )
        or canonicalize_name(requirement.name) not in pins
    ]
    assert not wrong, f"{folder}/requirements.txt is out of date; run: make lock\n" + "\n".join(wrong)


@pytest.mark.parametrize("folder", [*DEPLOYABLES, "deploy/mlflow"])
def test_every_deployable_gets_the_versions_that_were_tested(folder: str) -> None:
    tested = locked(".")
    other = {name: version for name, version in locked(folder).items() if tested.get(name, version) != version}
    assert not other


def test_every_requirement_is_pinned_by_hash() -> None:
    for folder in (*DEPLOYABLES, "deploy/mlflow", "."):
        text = (REPOSITORY / folder / "requirements.txt").read_text(encoding="utf-8")
        entries = re.split(r"\n(?=\S)", text.strip())
        assert all("--hash=sha256:" in entry for entry in entries), folder

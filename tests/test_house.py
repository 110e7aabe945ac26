"""Rules of the house that no tool checks: the source is read, not run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SHELVES = ("sim", "emulators", "scenarios")
PACKAGES = sorted(mark.parent for shelf in SHELVES for mark in ROOT.glob(f"{shelf}/*/*/py.typed"))
CODE = sorted(
    path for folder in (*SHELVES, "tests", "tools") for path in (ROOT / folder).rglob("*.py")
)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-bench.lock"]
PLAIN_FILES = [ROOT / "Makefile", *LOCKS, *sorted((ROOT / "tools").glob("*"))]

LINES_MAX = 500  # one subject; more than a reader holds in mind is more than one

# Split, so that this file does not break its own rule.
UNFINISHED = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK|NotImplemented" + r"Error)\b"
)
MACHINE_PATH = re.compile(r"(?<![\w./*}])/(?:home|root|Users|work|tmp|opt|mnt)/" + r"\w")
BARE_NOQA = re.compile(r"#\s*(?:ruff:\s*)?noqa(?!:\s*[A-Z]+[0-9]+)", re.IGNORECASE)
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[[\w-]+)")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")

by_name = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)


@cache
def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def hits(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        if path.is_file()
        for number, line in enumerate(lines(path), 1)
        if pattern.search(line)
    ]


def bound_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what a package defines or takes from this project, at its top level.

    A package with a ``__getattr__`` loads its names when they are used and imports them only for
    the type checker.
    """
    lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body)
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (name.id for name in targets if isinstance(name, ast.Name))
            case ast.ImportFrom(module=module, level=level, names=names):
                if level or (module or "").startswith("stuntdouble"):
                    yield from (alias.asname or alias.name for alias in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=for_the_checker) if lazy:
                yield from bound_names(for_the_checker)


@by_name
def test_a_package_is_typed_and_exports_what_it_says(package: Path) -> None:
    assert (package / "py.typed").is_file()
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{package.name} does not say what it is for"
    module = importlib.import_module(f"stuntdouble.{package.name}")
    public = {name for name in bound_names(tree.body) if not name.startswith("_")}
    assert set(module.__all__) == public
    assert all(hasattr(module, name) for name in module.__all__)


@by_name
def test_the_architecture_page_knows_the_package(package: Path) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"`{package.name}`" in page


def test_every_file_has_one_subject() -> None:
    assert not [f"{path}: {len(lines(path))}" for path in CODE if len(lines(path)) > LINES_MAX]


def test_nothing_is_left_unfinished() -> None:
    assert not hits(UNFINISHED, [*CODE, *PAGES, *PLAIN_FILES])


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert not hits(MACHINE_PATH, [*CODE, *PAGES, *PLAIN_FILES])


def test_an_exception_to_a_rule_names_the_rule() -> None:
    assert not hits(BARE_NOQA, CODE)
    assert not hits(BARE_IGNORE, CODE)


def is_number(value: ast.expr | None) -> bool:
    """Tell whether an expression is made of numbers and names, and has a number in it."""
    parts = list(ast.walk(value)) if value else []
    allowed = (
        ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop | ast.Name | ast.Attribute | ast.Load
    )
    numbers = [
        part
        for part in parts
        if isinstance(part, ast.Constant) and type(part.value) in (int, float)
    ]
    return bool(numbers) and all(part in numbers or isinstance(part, allowed) for part in parts)


def bare_numbers(text: str) -> list[str]:
    """Return the constants of a module that do not say where their number comes from.

    A comment on the line does, or above the block of lines in which it stands, or a string below.
    """
    rows, found = text.splitlines(), []
    body = ast.parse(text).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not is_number(node.value):
            continue
        name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        top = node.lineno - 1
        while top and rows[top - 1].strip():
            top -= 1
        said = any("#" in row for row in rows[node.lineno - 1 : node.end_lineno])
        said |= rows[top].startswith("#")
        said |= isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if name.isupper() and not said:
            found.append(name)
    return found


def test_a_number_is_told_from_what_has_none() -> None:
    assert bare_numbers("A = 3\n_B_MAX: Final = 2 * KIB\nc = 1\nD = f(1)\nE = KIB\nF = (1, 2)") == [
        "A",
        "_B_MAX",
    ]
    assert bare_numbers("A = 3  # RFC 7143\n\n# SBC-4\nB = 1\nC = 2\n\nD = 4\n'KB 1025279'") == []
    assert bare_numbers("# above\n\nA = 1") == ["A"]


@pytest.mark.parametrize("name", ["hypervisor", "array", "iops"])
def test_a_number_says_where_it_comes_from(name: str) -> None:
    paths = [path for path in CODE if path.parent.name == name or path.parent.parent.name == name]
    found = {
        path.name: bare_numbers("\n".join(lines(path)))
        for path in paths
        if "tests" not in path.parts
    }
    assert found, f"no file of {name} was read"
    assert not {path: names for path, names in found.items() if names}


def test_a_link_leads_somewhere() -> None:
    found = [(page, link) for page in PAGES for link in LINK.findall("\n".join(lines(page)))]
    assert found
    assert not [(page.name, link) for page, link in found if not (page.parent / link).exists()]


def test_a_decision_says_why_and_what_would_change_it() -> None:
    pages = [
        page for page in (ROOT / "docs" / "decisions").glob("*.md") if page.name != "README.md"
    ]
    assert pages
    for page in pages:
        headings = [line for line in lines(page) if line.startswith("## ")]
        assert headings == ["## Context", "## Decision", "## What would change our mind"], page.name


def test_the_lock_file_pins_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [line for group in groups.values() for line in group if isinstance(line, str)]
    pinned: dict[str, list[str]] = {}
    for line in [line for lock in LOCKS for line in lines(lock)]:
        assert "://" not in line
        if "==" in line and not line.startswith(" "):
            name, version = line.split(" ")[0].split("==")
            pinned.setdefault(canonicalize_name(name), []).append(version)
    for requirement in map(Requirement, wanted):
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_command_line_starts_without_what_it_may_not_need() -> None:
    if not (ROOT / "scenarios" / "stuntdouble" / "cli" / "__init__.py").exists():
        pytest.skip("the command line is not written yet")
    heavy = ["fakeredis", "numba", "numpy", "plotly", "pydantic", "simpy"]
    code = f"import sys, stuntdouble.cli; print(*(set({heavy}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.plain
def test_unsigned_numbers_wrap_in_silence_without_the_compiler() -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        with pytest.warns(RuntimeWarning, match="overflow"):
            _ = np.uint64(2**64 - 1) + np.uint64(1)
    else:
        assert np.uint64(2**64 - 1) + np.uint64(1) == 0

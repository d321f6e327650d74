"""The shape of the house, read from its syntax trees: what imports what, who reads the environment, how long is long.

A rule with exceptions names each one with its reason, and an exception that nothing needs any more fails too.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hive", "bees", "nectar")
MAY_IMPORT = {"hive": {"hive", "bees", "nectar"}, "bees": {"bees", "nectar"}, "nectar": {"nectar"}}
KNOWS_CELERY = {"hive/celery.py", "hive/tasks.py", "hive/beat.py"}
CELERY = {"celery", "kombu", "billiard"}
READS_ENVIRONMENT = {
    "hive/settings.py": "the only reader",
    "hive/__main__.py": "is told by its supervisor to be the fork server",
    "hive/forkserver.py": "gives each fork the environment that its supervisor sends",
    "hive/supervisor.py": "hands its own environment to the processes it starts, with the data folder and ports added",
    "hive/running.py": "hands its own environment to the detached hive, with the data folder made absolute",
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
LONGEST = 60
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


@dataclass(frozen=True)
class Source:
    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split("/", maxsplit=1)[0]

    def at(self, node: ast.expr | ast.stmt) -> str:
        return f"{self.name}:{node.lineno}"


def read(folder: str) -> Iterator[Source]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        yield Source(path.relative_to(ROOT).as_posix(), text, ast.parse(text, filename=str(path)))


@pytest.fixture(scope="module")
def house() -> list[Source]:
    return [source for package in PACKAGES for source in read(package)]


def imported(source: Source) -> Iterator[tuple[str, str]]:
    """Each module that is imported anywhere in a file, in functions and under TYPE_CHECKING too, and where."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, source.at(node)
        elif isinstance(node, ast.ImportFrom):
            yield ("." if node.level else node.module or ""), source.at(node)


def top(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def reads_environment(source: Source) -> list[str]:
    """Places that name `os.environ` or `os.getenv`, whichever way it was imported."""
    called_os = {
        name.asname or name.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for name in node.names
        if name.name == "os"
    }
    return [
        source.at(node)
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and _name(node.value) in called_os)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and ENVIRONMENT & {n.name for n in node.names})
    ]


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def test_imports_go_from_hive_to_bees_to_nectar_and_never_back(house):
    backward = [
        f"{where} imports {module}"
        for source in house
        for module, where in imported(source)
        if top(module) in {*PACKAGES, "tests"} and top(module) not in MAY_IMPORT[source.package]
    ]

    assert not backward


def test_imports_name_the_whole_path_of_what_they_want(house):
    assert not [where for source in house for module, where in imported(source) if module == "."]


def test_only_three_modules_know_celery(house):
    strangers = [
        f"{where} imports {module}"
        for source in house
        for module, where in imported(source)
        if top(module) in CELERY and source.name not in KNOWS_CELERY
    ]

    assert not strangers


def test_only_the_settings_read_the_environment(house):
    readers = {source.name: places for source in house if (places := reads_environment(source))}

    assert not {name: places for name, places in readers.items() if name not in READS_ENVIRONMENT}
    assert set(READS_ENVIRONMENT) <= set(readers), "an exception that nothing needs"


def test_every_module_says_what_it_is(house):
    assert not [source.name for source in house if not ast.get_docstring(source.tree)]


def test_no_function_is_longer_than_a_screen(house):
    long = [
        f"{source.at(node)} {node.name} has {length} lines"
        for source in house
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST
    ]

    assert not long


def test_nothing_is_left_for_later(house):
    texts = {source.name: source.text for source in house}
    texts |= {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    comments = [
        f"{name}:{token.start[0]} {token.string}"
        for name, text in texts.items()
        if MARK.search(text)  # to take a text to pieces takes long
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and MARK.search(token.string)
    ]
    sql = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "hive").rglob("*.sql")
        if (found := MARK.search(path.read_text()))
    ]

    assert not comments + sql


@pytest.mark.parametrize("connector", sorted(path.stem for path in (ROOT / "bees").glob("[!_]*.py")))
def test_every_bee_has_tests_of_its_own(connector):
    tests = ROOT / "tests" / "bees"

    assert [*tests.glob(f"test_{connector}.py"), *tests.glob(f"test_{connector}_*.py")]


class TestTheseRules:
    """A rule that could not fail would keep nothing."""

    @staticmethod
    def source(text: str) -> Source:
        return Source("bees/made_up.py", text, ast.parse(text))

    @pytest.mark.parametrize(
        "text",
        [
            "import hive.vault",
            "from hive import vault",
            "def f():\n    import hive",
            "if TYPE_CHECKING:\n    from hive.vault import Vault",
        ],
    )
    def test_an_import_is_seen_wherever_it_stands(self, text):
        assert [top(module) for module, _ in imported(self.source(text))] == ["hive"]

    @pytest.mark.parametrize(
        "text",
        [
            "import os\nos.environ['A']",
            "import os as system\nsystem.getenv('A')",
            "from os import environ",
            "from os import getenv as g",
        ],
    )
    def test_a_look_at_the_environment_is_seen_however_it_is_spelt(self, text):
        assert reads_environment(self.source(text))

    def test_a_name_like_environment_is_no_look_at_it(self):
        assert not reads_environment(self.source("import os\nself.environ\nenvironment(os.name)"))

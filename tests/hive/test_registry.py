"""Which connectors there are, and what is said of those that are not."""

from __future__ import annotations

import importlib
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import pytest

import bees
from bees.core.bee import WorkerBee
from hive import registry
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector, connectors, queue_of

BEE = '''
"""Postcards of one village.

More about them."""
{imports}
from bees.core.bee import BeeOptions, WorkerBee


class PostcardBee(WorkerBee):
    bee_type = "api"

    class Options(BeeOptions):
        village: str

    def validate_flight_path(self): ...
    def get_pollen_schema(self): return []
    def collect_nectar(self, stream, cursor, slice=None, query=None): yield from ()
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that counts as part of `bees/`."""
    monkeypatch.setattr(bees, "__path__", [*bees.__path__, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("bees."):
            del sys.modules[name]
            vars(bees).pop(name.removeprefix("bees."), None)


def write(folder, name, *, imports="", text=BEE):
    (folder / f"{name}.py").write_text(text.replace("{imports}", imports))
    importlib.invalidate_caches()


def test_a_file_in_the_folder_is_a_connector_under_its_own_name(folder):
    write(folder, "postcards")

    assert connector("postcards").__name__ == "PostcardBee"
    assert issubclass(connector("postcards"), WorkerBee)
    info = connectors()["postcards"]
    assert (info.bee_type, info.summary, info.queue, info.missing) == (
        "api",
        "Postcards of one village.",
        "bees.api",
        "",
    )


def test_listing_imports_nothing(folder):
    write(folder, "postcards", imports="raise RuntimeError('imported')")

    assert connectors()["postcards"].bee_type == "api"
    assert "bees.postcards" not in sys.modules


def test_a_missing_driver_is_a_hint_and_hurts_nobody_else(folder, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: ["httpx>=1", 'no-such-driver>=2; extra == "villages"'])
    write(folder, "postcards", imports="import no_such_driver")
    write(folder, "letters", imports="import json")

    listed = connectors()

    assert listed["postcards"].missing == "pip install 'worker-bees[villages]'"
    assert listed["letters"].missing == ""
    with pytest.raises(MissingExtra, match=r"postcards.*no_such_driver.*pip install 'worker-bees\[villages\]'"):
        connector("postcards")


def test_a_driver_that_is_imported_late_is_missed_in_the_listing_too(folder):
    late = BEE.replace("yield from ()", "import no_such_driver")
    write(folder, "postcards", text=late)

    assert "no_such_driver" in connectors()["postcards"].missing


def test_an_optional_import_is_not_missed(folder):
    write(folder, "postcards", imports="try:\n    import no_such_driver\nexcept ImportError:\n    pass")

    assert connectors()["postcards"].missing == ""


def test_an_import_whose_failure_is_told_is_missed(folder):
    told = "try:\n    import no_such_driver\nexcept ImportError:\n    raise ValueError('missing_driver') from None"
    write(folder, "postcards", imports=told)

    assert "no_such_driver" in connectors()["postcards"].missing


def test_soap_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(registry, "_installed", lambda package: package != "zeep")

    assert connectors()["soap"].missing == "pip install 'worker-bees[soap]'"
    assert connectors()["rest"].missing == ""


def test_our_own_broken_import_is_not_taken_for_a_missing_extra(folder):
    write(folder, "postcards", imports="from bees.core import nothing_there")

    with pytest.raises(ImportError) as caught:
        connector("postcards")

    assert not isinstance(caught.value, MissingExtra)


def test_an_unknown_name_suggests_the_near_one(folder):
    write(folder, "postcards")

    with pytest.raises(UnknownConnector, match="no connector is named 'postcard'; did you mean 'postcards'"):
        connector("postcard")


@pytest.mark.parametrize("name", ["core", "core.bee", "__init__", "../bees", "", "os"])
def test_what_is_no_connector_is_never_imported(name):
    with pytest.raises(UnknownConnector):
        connector(name)


def test_a_module_without_exactly_one_bee_is_broken(folder):
    write(folder, "nothing", text='"""Nothing."""')
    write(folder, "two", text=BEE + "\n\nclass SecondBee(PostcardBee): ...\n")

    for name in ("nothing", "two"):
        with pytest.raises(BrokenConnector, match="exactly one WorkerBee"):
            connector(name)
    assert connectors()["nothing"].bee_type is None


def test_an_inherited_type_is_found(folder):
    write(folder, "postcards")
    write(folder, "stamps", text="from bees.postcards import PostcardBee\n\n\nclass StampBee(PostcardBee): ...\n")

    assert connectors()["stamps"].bee_type == "api"


def test_a_file_that_is_not_python_is_listed_as_such(folder):
    write(folder, "postcards", text="def (")

    assert "cannot be read: SyntaxError" in connectors()["postcards"].missing


@pytest.mark.parametrize("value", ["village_mail:PostcardBee", "village_mail"])
def test_other_packages_bring_connectors_by_entry_point(tmp_path, monkeypatch, value):
    write(tmp_path, "village_mail")
    about = tmp_path / "village_mail-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: village-mail\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        textwrap.dedent(f"""
            [{registry.GROUP}]
            mail = {value}
            local = {value}
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "village_mail", raising=False)

    assert connectors()["mail"].summary == "Postcards of one village."
    assert connector("mail").__name__ == "PostcardBee"
    assert connector("mail").__module__ == "village_mail"
    monkeypatch.delitem(sys.modules, "village_mail")


def test_our_own_names_cannot_be_taken_by_another_package(folder, monkeypatch):
    write(folder, "postcards")
    point = metadata.EntryPoint("postcards", "os:path", registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints([point]))

    assert connector("postcards").__module__ == "bees.postcards"


def test_the_queue_follows_from_the_type():
    assert queue_of("database") == "bees.database"
    with pytest.raises(ValueError, match="did you mean 'database'"):
        queue_of("databse")


def test_connectors_are_read_by_many_threads_at_once():
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: connectors(), range(16)))

    assert all(one == found[0] for one in found)

"""Methods and data sets of others: named outright, by entry points, by modules that register."""

import sys
from importlib.metadata import EntryPoint

import pytest

from vg_gym import registry
from vg_gym.cli.entry import main
from vg_gym.errors import UnknownName, VGGymError
from vg_gym.registry import plugins

MODULE = '''
"""Somebody's package."""
from vg_gym.registry import GrounderSpec, register_proposer

class Mine:
    """Says nothing."""
    name = "mine"
    def __init__(self, clip="", size=1):
        self.given = clip, size
    def ground(self, queries, initial_boxes=None):
        return []

SPEC = GrounderSpec("theirs_xyz:Mine", "mine, with a CLIP", takes_clip=True)
NUMBER = 3
register_proposer("theirs", "theirs_xyz:Mine")
'''


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Name of a module that can be imported; one beside it cannot."""
    (tmp_path / "theirs_xyz.py").write_text(MODULE)
    (tmp_path / "broken_xyz.py").write_text("import no_such_package_xyz")
    monkeypatch.syspath_prepend(tmp_path)
    for table in ("GROUNDERS", "DATASETS", "PROPOSERS"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    yield "theirs_xyz"
    sys.modules.pop("theirs_xyz", None)


@pytest.fixture
def offered(theirs, monkeypatch):
    """Entry points: a factory, a spec, one that is broken, one of a name that is taken."""
    values = {"mine": ":Mine", "mine-clip": ":SPEC", "gone": ":Gone", "center": ":Mine"}
    entries = {name: EntryPoint(name, theirs + value, "vg_gym.grounders") for name, value in values.items()}
    entries["broken"] = EntryPoint("broken", "broken_xyz:Mine", "vg_gym.grounders")
    monkeypatch.setattr(plugins, "_offered", lambda group: entries if group == "vg_gym.grounders" else {})


def test_a_factory_or_a_spec_is_named_outright(theirs):
    assert registry.grounder(f"{theirs}:Mine", size=2).given == ("", 2)
    assert registry.grounder_with_clip(f"{theirs}:SPEC", "refshapes").given == ("refshapes", 1)
    assert registry.grounder_spec(f"{theirs}:Mine").summary == f"Says nothing, of {theirs}"
    assert registry.is_grounder(f"{theirs}:Mine") and not registry.is_grounder("jitter")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:Mein", "unknown name in theirs_xyz: 'Mein': did you mean 'Mine'"),
        ("{}:NUMBER", "'theirs_xyz:NUMBER' is a int, neither a factory nor a GrounderSpec"),
        ("broken_xyz:Mine", "'broken_xyz:Mine' cannot be imported: ModuleNotFoundError: .*no_such_package_xyz"),
        ("agnet:refshapes", "unknown grounder 'agnet': did you mean 'agent'.*; nor is there a module 'agnet'"),
    ],
)
def test_what_is_wrong_is_one_line(theirs, name, message):
    with pytest.raises(VGGymError, match=message):
        registry.grounder(name.format(theirs))


def test_entry_points_are_found_by_name_and_imported_late(offered):
    assert "mine" in registry.grounder_names() and "theirs_xyz" not in sys.modules
    assert registry.grounder("mine", size=4).given == ("", 4)
    assert registry.grounder_with_clip("mine-clip", "refshapes").given == ("refshapes", 1)
    assert registry.grounder("center").name == "center"
    with pytest.raises(UnknownName, match="unknown grounder 'mnie': did you mean 'mine'"):
        registry.grounder("mnie")
    with pytest.raises(VGGymError, match=r"entry point 'broken' \(broken_xyz:Mine\) cannot be imported: Module"):
        registry.grounder("broken")


def test_a_broken_entry_point_is_one_line_and_the_rest_is_listed(offered, capsys):
    main(["list", "grounders"])
    said = capsys.readouterr()
    assert "mine, with a CLIP" in said.out and "agent:refshapes " in said.out and "broken" not in said.out
    lines = said.err.splitlines()
    assert len(lines) == 3 and all(line.startswith("vg-gym: warning: ") for line in lines)
    assert "'Gone'" in lines[0] and "'center'" in lines[1] and "'broken'" in lines[2]


def test_modules_register_and_those_that_cannot_be_imported_are_named(theirs):
    registry.load_plugins("")
    registry.load_plugins(f" {theirs}, json")
    assert registry.list_proposers()["theirs"].factory == "theirs_xyz:Mine"
    with pytest.raises(VGGymError, match="plugin 'broken_xyz' cannot be imported: ModuleNotFoundError"):
        registry.load_plugins("broken_xyz")


def test_another_process_knows_what_is_registered(theirs):
    known = registry.registered()
    registry.load_plugins(theirs)
    assert "theirs" not in known[2]
    known = registry.registered()
    del registry.PROPOSERS["theirs"]
    registry.register_all(known)
    assert "theirs" in registry.PROPOSERS

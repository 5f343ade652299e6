import importlib
import sys

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.registry import identity
from vg_gym.registry.identity import inputs_of, mark_of, source_files, state_of

METHOD = """
import numpy as np
from {helper} import WIDTH
from vg_gym.types import Prediction

class Method:
    name = "mine"

    def __init__(self, weights=""):
        self.weights = np.arange(3) if not weights else np.loadtxt(weights)

    def ground(self, queries, initial_boxes=None):
        return [Prediction(np.array([0, 0, WIDTH, 9])) for _ in queries]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A method of one's own in a folder, with a module beside it; the name of its module."""
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("method_of_mine", "helper_of_mine", "stranger_of_mine"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "method_of_mine.py").write_text(METHOD.format(helper="helper_of_mine"))
    (tmp_path / "helper_of_mine.py").write_text("WIDTH = 9\n")
    (tmp_path / "stranger_of_mine.py").write_text("WIDTH = 8\n")
    yield "method_of_mine"
    for module in ("method_of_mine", "helper_of_mine"):
        sys.modules.pop(module, None)


def described(**options):
    name = "method_of_mine:Method"
    return inputs_of(name, registry.grounder(name, **options), options)


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_the_source_of_a_method_is_its_module_and_what_it_imports_from_beside_it(mine, tmp_path):
    assert [path.name for path in source_files(mine)] == ["helper_of_mine.py", "method_of_mine.py"]
    before = described()
    (tmp_path / "helper_of_mine.py").write_text("WIDTH = 10\n")
    assert described() == before, "this process still runs what it imported"
    for module in ("helper_of_mine", mine):
        importlib.reload(sys.modules[module])
    assert changed(before, described()) == {"source"}


def test_what_a_method_without_a_fingerprint_holds_counts(mine, tmp_path):
    weights = tmp_path / "weights.txt"
    weights.write_text("1 2 3")
    first = described(weights=str(weights))
    assert first == described(weights=str(weights))
    weights.write_text("1 2 4")
    assert changed(first, described(weights=str(weights))) == {"weights"}
    assert changed(first, described()) == {"options", "weights"}


def test_own_modules_are_read_and_vg_gym_has_one_hash():
    assert source_files("vg_gym.baselines.priors") == source_files("no_such_module_anywhere") == []
    names = {path.name for path in source_files(__name__)}
    assert "test_identity.py" in names and "priors.py" not in names


def test_state_reads_arrays_and_containers_and_what_has_a_fingerprint():
    class Holder:
        def __init__(self, **held):
            self.__dict__.update(held)

    same = [state_of(Holder(table={"a": np.ones(3)}, names=["x", "y"], size=2)) for _ in range(2)]
    assert same[0] == same[1]
    assert state_of(Holder(table={"a": np.zeros(3)}, names=["x", "y"], size=2)) not in same
    assert state_of(Holder(part=Holder(fingerprint="a"))) != state_of(Holder(part=Holder(fingerprint="b")))


@pytest.mark.parametrize("name", ["center", "clip-window", "agent:refshapes"])
def test_two_of_a_kind_have_one_mark(name):
    assert mark_of(registry.grounder(name)) == mark_of(registry.grounder(name))


def test_options_tell_grounders_apart():
    assert mark_of(registry.grounder("agent:refshapes")) != mark_of(registry.grounder("agent:refshapes", max_steps=2))
    assert mark_of(registry.grounder("clip-window")) != mark_of(registry.grounder("clip-window", score="cosine"))


def test_an_agent_stands_on_the_grounder_of_its_first_boxes_and_on_its_proposer():
    def mark(**options):
        return registry.grounder("agent:refshapes", **options).fingerprint

    assert len({mark(), mark(initial_box="clip-window"), mark(initial_box="contours-clip"), mark(proposals="")}) == 4


def test_an_edit_of_what_only_shows_answers_discards_none(tmp_path, monkeypatch):
    assert all((identity.PACKAGE / folder).is_dir() for folder in identity.SHOWING)
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    source, hashes = identity.own_source.__wrapped__, []
    for folder in (*identity.SHOWING, "evaluation"):
        place = tmp_path / folder / "module.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("ANSWER = 1\n")
        hashes.append(source())
    assert hashes[-1] != hashes[0] == hashes[1] == hashes[2]

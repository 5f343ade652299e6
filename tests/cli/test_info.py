import re
import sys

import pytest

from tests.layouts import make_instances, make_refs, write_layout
from vg_gym.cli.entry import main
from vg_gym.registry import list_datasets, list_grounders


def test_info_lists_everything_and_what_is_here(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    instances = make_instances([(64, 48)])
    write_layout(tmp_path / "refcocog", instances, make_refs(instances, ["train"]))
    main(["info", "--root", str(tmp_path)])
    lines = capsys.readouterr().out
    for name in (*list_datasets(), *list_grounders(), "gymnasium", "torch"):
        assert name in lines
    assert f"{tmp_path}/refcocog/annotations; {tmp_path}/refcocog/images/train2014" in lines
    assert re.search(r"refcoco-unc +no refs\(unc\)\.p", lines) and re.search(r"refshapes +built in", lines)
    main(["info"])
    assert "set VG_GYM_DATA" in capsys.readouterr().out


def test_the_list_of_data_sets_says_targets_size_and_licence(capsys):
    main(["list", "datasets"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for name, spec in list_datasets().items():
        assert spec.size in lines[name] and f"licence: {spec.licence}" in lines[name]
        assert ("an expression means" in lines[name]) == (spec.targets != "one")
    assert "an expression means none or one or several; 6,000 expressions" in lines["humanref"]


@pytest.mark.parametrize("command", [["list", "grounders"], ["info"]])
def test_a_terminal_gets_lines_of_its_width(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(command)
    words = capsys.readouterr().out.split()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main(command)
    output = capsys.readouterr().out
    assert output.split() == words
    assert all(len(line) <= 80 or " " not in line.strip() for line in output.splitlines())

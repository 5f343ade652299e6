import re
import subprocess
import sys

import pytest


def test_the_command_line_as_a_process(tmp_path):
    def call(*arguments):
        return subprocess.run([sys.executable, "-m", "vg_gym.cli", *arguments], capture_output=True, text=True)

    assert call("--version").stdout.startswith("vg-gym ")
    (tmp_path / "refcocog.zip").write_text("not it")
    result = call("download", "refcocog", "--root", str(tmp_path))
    assert result.returncode == 2 and result.stdout == ""
    assert re.fullmatch(r"vg-gym: error: .*refcocog\.zip is not the published archive: [^\n]+\n", result.stderr)
    assert call("download", "refclef").returncode == 2
    assert call().returncode == 2


@pytest.mark.parametrize("command", ["--version", "--help", "train --help", "list envs", "list grounders", "info"])
def test_what_needs_no_model_waits_for_none(command):
    heavy = {"torch", "open_clip", "torchvision", "stable_baselines3"}
    source = f"""
import sys
from vg_gym.cli.entry import main
try:
    main({command.split()})
except SystemExit as ended:
    assert not ended.code, ended.code
assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

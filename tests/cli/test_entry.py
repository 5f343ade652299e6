import re
import subprocess
import sys


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

import hashlib
import io
import re
import subprocess
import sys
import zipfile

import pytest

from tests.layouts import make_instances, make_refs, write_layout
from vg_gym.cli.entry import main
from vg_gym.cli.run import run
from vg_gym.data import archives
from vg_gym.errors import VGGymError
from vg_gym.registry import DATASETS, GROUNDERS


def test_run_turns_a_user_error_into_one_line(capsys):
    def fails():
        raise VGGymError("no such\n  thing; do this")

    with pytest.raises(SystemExit) as caught:
        run(fails)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "vg-gym: error: no such thing; do this\n"

    def stops():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(stops)
    assert caught.value.code == 130

    def bug():
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(bug)
    calls = []
    run(lambda: calls.append(1))
    assert calls == [1]


def test_info_lists_everything_and_what_is_here(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    instances = make_instances([(64, 48)])
    write_layout(tmp_path / "refcocog", instances, make_refs(instances, ["train"]))
    main(["info", "--root", str(tmp_path)])
    lines = capsys.readouterr().out
    for name in (*DATASETS, *GROUNDERS, "gymnasium", "torch"):
        assert name in lines
    assert f"{tmp_path}/refcocog/annotations; {tmp_path}/refcocog/images/train2014" in lines
    assert re.search(r"refcoco-unc +no refs\(unc\)\.p", lines) and re.search(r"refshapes +built in", lines)
    main(["info"])
    assert "set VG_GYM_DATA" in capsys.readouterr().out


def test_download_unpacks_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("refcoco+/instances.json", "{}")
    data = buffer.getvalue()
    (tmp_path / "refcoco+.zip").write_bytes(data)  # put there by hand, so that nothing is fetched
    entry = archives.Archive(
        "refcoco+.zip", (), "instances.json", "refcoco+", len(data), hashlib.sha256(data).hexdigest()
    )
    monkeypatch.setitem(archives.ARCHIVES, "refcoco+", entry)
    main(["download", "refcoco+", "--root", str(tmp_path)])
    assert f"dataset=refcoco+-unc root={tmp_path}" in capsys.readouterr().out
    assert (tmp_path / "refcoco+" / "instances.json").read_text() == "{}"


def test_features_are_made_checked_and_repaired(tmp_path, capsys):
    out = tmp_path / "features"
    command = [
        "features",
        "--dataset",
        "refshapes",
        "--splits",
        "val",
        "--limit",
        "3",
        "--shard",
        "2",
        "--out",
        str(out),
    ]
    main(command)
    said = capsys.readouterr().out
    assert "3 images" in said and said.endswith(f"use it with: python train_agent.py features={out}\n")
    main(["features", "--out", str(out), "--verify"])
    assert "are intact: 3 images" in capsys.readouterr().out
    shard = out / "maps-00001.npy"
    good = shard.read_bytes()
    shard.write_bytes(good[:500] + b"x" + good[501:])
    with pytest.raises(SystemExit):
        main(["features", "--out", str(out), "--verify"])
    error = capsys.readouterr().err
    assert re.search(
        r"maps-00001\.npy; delete these files and run `vg-gym features --dataset refshapes .*` again", error
    )
    shard.unlink()
    main(command)
    assert shard.read_bytes() == good
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["features", "--out", str(out)])
    assert "--dataset" in capsys.readouterr().err


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

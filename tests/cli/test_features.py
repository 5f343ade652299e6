import re

import pytest

from vg_gym.cli.entry import main


def test_features_are_made_checked_and_repaired(tmp_path, capsys):
    out = tmp_path / "features"
    command = "features --dataset refshapes --splits val --limit 3 --shard 2 --out".split() + [str(out)]
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

import re

import numpy as np
import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.cli.entry import main
from vg_gym.clip.loader import load_clip
from vg_gym.envs.factory import make_engine
from vg_gym.registry import open_dataset


def test_features_are_made_checked_and_repaired(tmp_path, capsys):
    out = tmp_path / "features"
    command = "features --dataset refshapes --splits val --limit 3 --shard 2 --out".split() + [str(out)]
    main(command)
    said = capsys.readouterr().out
    assert "3 images" in said and "dataset_options.scenes=3 eval_samples=3 test_samples=3\n" in said
    assert f"use it with: python train_agent.py features={out} " in said
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


def test_a_wrong_proposer_is_refused_before_anything_is_computed(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(
            [
                "features",
                "--dataset",
                "refshapes",
                "--limit",
                "3",
                "--proposals",
                "sdd",
                "--out",
                str(tmp_path / "made"),
            ]
        )
    assert "unknown proposer 'sdd': did you mean 'ssd'?" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_store_keeps_proposals_and_edge_maps(tmp_path, capsys, monkeypatch):
    """An environment over such a store computes none of them, and has the same ones as without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "features"
    command = (
        "features --dataset refshapes --splits val --limit 3 --shard 2 --proposals ssd --edge-profiles --out".split()
    )
    main([*command, str(out)])
    assert {path.name.split("-")[0] for path in out.glob("*-00001.npy")} >= {"ssd", "edge", "dense"}
    data = [open_dataset("refshapes", "val")[row] for row in range(4)]
    options = {"dataset": data, "proposals": "ssd", "edge_profiles": True, "reward": "iou"}
    without = GroundingVecEnv(make_engine(2, clip=load_clip("refshapes"), **options), seed=0).reset()
    monkeypatch.setattr("vg_gym.features.query_proposals.QueryProposals._propose", None)
    monkeypatch.setattr("vg_gym.features.edge_maps.edge_maps", None)
    with_store = GroundingVecEnv(
        make_engine(2, clip=load_clip("refshapes"), features=str(out), **options), seed=0
    ).reset()
    for name in ("proposals", "edge_profiles"):
        np.testing.assert_array_equal(without[name], with_store[name])
    (shard,) = out.glob("ssd*-00000.npy")
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit):
        main(["features", "--out", str(out), "--verify"])
    assert shard.name in capsys.readouterr().err


def test_features_of_a_file_are_of_all_its_rows(tmp_path, capsys):
    write_images(tmp_path / "images", 2)
    given = [{**row, "split": "train" if i % 2 else "test"} for i, row in enumerate(rows())]
    given = [{**row, "image": f"images/{i % 2}.png"} for i, row in enumerate(given)]
    path = write_rows(tmp_path / "mine.jsonl", given)
    main(["features", "--dataset", str(path), "--clip", "refshapes", "--out", str(tmp_path / "features")])
    assert "2 images" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["features", "--dataset", "refshape", "--out", str(tmp_path / "other")])
    assert "did you mean 'refshapes'" in capsys.readouterr().err

"""Fingerprints of pipelines and detectors: every option of the constructor that can change an answer is in it."""

import inspect

import numpy as np
import pytest

from vg_gym.baselines.heat_map_grounder import HeatMapGrounder
from vg_gym.baselines.two_stage import TwoStageGrounder
from vg_gym.baselines.words import WordsGrounder
from vg_gym.clip.loader import load_clip
from vg_gym.features import query_proposals
from vg_gym.registry import proposer

OTHER_VALUES = {
    TwoStageGrounder: (
        {"proposer": "segments"},
        {
            "proposer": "contours", "clip": "refshapes+refshapes", "name": "other", "weights": "other",
            "views": "crop+blur", "aggregate": "max", "prompt": "the {}", "margin": 0.1, "parse": True,
            "classes": True, "min_area": 0.1, "min_confidence": 0.2, "max_boxes": 3, "categories": ["star"],
            "max_overlap": 0.5, "options": {"counts": (5,)},
        },
    ),
    WordsGrounder: (
        {"proposer": "yolo"},
        {
            "proposer": "ssd", "name": "other", "weights": "other", "min_confidence": 0.2, "max_boxes": 3,
            "max_overlap": 0.5, "options": {"counts": (5,)},
        },
    ),
    HeatMapGrounder: (
        {"scorer": "crops"},
        {
            "scorer": "regions", "clip": "refshapes-other", "alpha": 0.1, "tau": 0.3, "aggregate": "max",
            "methods": "slic", "counts": (5,), "upsample": 3, "prompt": "the {}",
        },
    ),
}  # fmt: skip
"""Class -> smallest arguments, and another value of every option that can change an answer."""
CASES = [(cls, option) for cls, (_, others) in OTHER_VALUES.items() for option in others]


@pytest.fixture(autouse=True)
def one_clip(monkeypatch):
    """Every name of a CLIP loads the built-in one, so that the name alone tells two apart."""
    monkeypatch.setattr("vg_gym.baselines.heat_map_grounder.load_clip", lambda *_: load_clip("refshapes"))
    monkeypatch.setattr("vg_gym.baselines.two_stage.registry.proposer", lambda *_, **__: Stub())


class Stub:
    """Proposer that no option reaches."""

    name = fingerprint = "stub"


@pytest.mark.parametrize("cls", OTHER_VALUES)
def test_settings_name_every_option_but_the_device(cls):
    smallest, others = OTHER_VALUES[cls]
    options = list(inspect.signature(cls).parameters)
    options.remove("device")
    assert list(cls(**smallest).settings) == options == list(others)


@pytest.mark.parametrize(("cls", "option"), CASES, ids=[f"{cls.__name__}-{option}" for cls, option in CASES])
def test_another_value_is_another_fingerprint(cls, option):
    smallest, others = OTHER_VALUES[cls]
    value = others[option]
    other = cls(**{**smallest, **(value if option == "options" else {option: value})})
    assert other.fingerprint != cls(**smallest).fingerprint == cls(**smallest).fingerprint


DETECTOR_OPTIONS = [
    ("ssd", {"min_score": 0.5}), ("ssd", {"nms_iou": 0.2}), ("detr", {"min_score": 0.5}), ("yolo", {"min_score": 0.5}),
    ("yolo", {"nms_iou": 0.2}), ("yolo", {"stretch": False}), ("yolo", {"image_size": 64}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "option"), DETECTOR_OPTIONS)
def test_another_option_of_a_detector_is_another_fingerprint(name, option):
    """Proposals are cached under the fingerprint, so it changes with every option, and with every default."""
    assert proposer(name, **option).fingerprint != proposer(name).fingerprint


def test_cached_proposals_are_those_of_the_detector_as_it_is_now(monkeypatch, tmp_path, shapes):
    """A higher minimum confidence (here, of a later version) is not answered from an earlier version's cache."""
    monkeypatch.setenv("VG_GYM_CACHE", str(tmp_path))
    image, counts = shapes[0].query.image, []
    for detector in (proposer("ssd"), proposer("ssd", min_score=1.0)):
        monkeypatch.setattr(query_proposals, "_proposer", lambda *_, now=detector, **__: now)
        proposals = query_proposals.QueryProposals("ssd", 12, load_clip("refshapes"))
        proposals.images.prepare([image])
        counts.append(np.count_nonzero(proposals.images(image)[:, 4]))
    assert counts[0] > counts[1] == 0

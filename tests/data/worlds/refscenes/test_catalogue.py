"""Every kind has a model in every pose, of its height, on the floor, and with a colour for every part."""

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes.catalogue import DETAILS, build, detail_rgb, rgb
from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, PART_NAMES, VARIANTS, is_held_out, nouns, plural
from vg_gym.data.worlds.refscenes.scene import Part
from vg_gym.data.worlds.refscenes.things import sample_thing

CLOTHES = ("shirt", "trousers", "skin", "hair", "hat", "shoes")
ALL_FORMS = [
    (kind, variant, pose) for kind, spec in KINDS.items() for variant in spec.variants for pose in spec.poses
]  # fmt: skip


def model(kind, variant, pose):
    parts = CLOTHES if kind == "person" else (KINDS[kind].main, *KINDS[kind].parts)
    return build(kind, variant, pose, parts, "floor" if pose == "sitting" else "", "")


@pytest.mark.parametrize("kind, variant, pose", ALL_FORMS)
def test_models_stand_on_the_floor_and_have_colours(kind, variant, pose):
    form = model(kind, variant, pose)
    named = set(PART_NAMES) | {KINDS[kind].main, "skin"}
    assert set(form.parts) <= named | set(DETAILS)
    assert np.isfinite(form.frames).all()
    sunk = 0.15 * KINDS[kind].height_m + 0.03
    assert -sunk < form.bounds[0, 2] < sunk
    if pose in ("", "standing"):
        assert form.bounds[1, 2] == pytest.approx(KINDS[kind].height_m, rel=0.45)


def test_poses_differ():
    for kind, spec in KINDS.items():
        forms = [model(kind, spec.variants[0], pose).frames for pose in spec.poses]
        for i, one in enumerate(forms):
            for other in forms[:i]:
                assert one.shape != other.shape or not np.allclose(one, other)


def test_nouns_mean_one_kind_each():
    words = [word for kind in KINDS for word in KINDS[kind].names if kind != "person"]
    words += [word for variant in VARIANTS.values() for word in variant] + list(KINDS["person"].names)
    assert len(words) == len(set(words)) and len(KINDS) >= 28
    assert all(2 <= len(spec.names) <= 4 and spec.held_out not in nouns(kind) for kind, spec in KINDS.items())
    assert len({plural(word) for word in words}) == len(words)


def test_every_colour_but_a_held_out_one_occurs_in_training():
    for kind, spec in KINDS.items():
        usual = [color for color in spec.colors if not is_held_out(kind, color)]
        assert len(usual) >= max(1, 0.75 * len(spec.colors))
    for color in COLORS:
        assert any(color in spec.colors and not is_held_out(kind, color) for kind, spec in KINDS.items())


def test_sampled_things_keep_held_out_pairs_apart():
    rng = np.random.default_rng(0)
    for kind, spec in KINDS.items():
        for _ in range(30):
            assert not is_held_out(kind, sample_thing(rng, kind, tuple(COLORS), False).main.color)
        if any(is_held_out(kind, color) for color in spec.colors):
            assert is_held_out(kind, sample_thing(rng, kind, tuple(COLORS), True).main.color)


def test_colours_can_be_told_apart():
    table = [np.array(value, float) for value in COLORS.values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(table) for b in table[:i]]
    assert min(distances) > 60
    assert np.allclose(rgb(Part("body", "red")), np.array(COLORS["red"]) / 255)
    assert rgb(Part("hair", "yellow"))[2] > 0.3 and detail_rgb("tyre").max() < 0.2

"""Pictures of any shape: scenes that are stretched keep their answers, and the smallest and thinnest ones get a box."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.test_registry import HUB_ONLY, NO_ASSET, built
from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Canvas
from vg_gym.storage.assets import ASSETS
from vg_gym.types import Fitted, Query

AGENTS = sorted(f"agent:{folder.name.removeprefix('agent-')}" for folder in ASSETS.glob("agent-*"))
NAMES = [*sorted(registry.GROUNDERS.keys() - NO_ASSET - HUB_ONLY - {"agent"}), *AGENTS]
SLOW = {"segments-clip", "seg-clip", "adapting-clip", "sam-clip", "clip-window", "diffusion-ddpm"}
"""Methods that take long for a picture."""
STRETCHED = ((256, 128), (128, 256))
LEAST_SHARE = 0.75
"""Of a method's mean IoU on square scenes that it keeps on stretched ones. Letterboxed, networks kept a fifth to two
thirds of it. Segments and contours are other ones in stretched pixels, which costs up to a seventh."""
EXTREME = ((1, 1), (2, 2), (3, 3), (1, 90), (1, 500), (500, 1), (3, 70), (70, 3), (10, 4000), (4000, 10))
ONE_STAGE = ("mdetr", "transvg", "dynamic-mdetr", "red")


@cache
def grounder(name):
    found = built(name)
    if isinstance(found, Fitted):
        found.fit(RefShapes("refshapes", "train", scenes=20))
    return found


def scenes_of(name):
    """Number of scenes that a method answers."""
    return 6 if name in ONE_STAGE else 2 if name in SLOW else 3


@cache
def mean_iou(name, size):
    samples = RefShapes("refshapes", "test", scenes=scenes_of(name))[:]
    scale = np.array([*size, *size], np.float32) / 128
    images = {s.image_id: Image.fromarray(s.query.image.array()) for s in samples}
    stretched = {
        key: ArrayImage(np.array(image.resize(size, Image.Resampling.BICUBIC)), f"{size} {key}")
        for key, image in images.items()
    }
    queries = [Query(stretched[s.image_id], s.query.expression, f"{row}") for row, s in enumerate(samples)]
    found = grounder(name).ground(queries)
    return np.mean([float(box_ops.iou(p.box, s.box * scale)) for p, s in zip(found, samples, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_a_stretched_scene_has_a_stretched_answer(name):
    square = mean_iou(name, (128, 128))
    for size in STRETCHED:
        assert mean_iou(name, size) >= LEAST_SHARE * square, (size, square)


@pytest.mark.parametrize("name", ONE_STAGE)
def test_a_one_stage_network_is_as_good_on_stretched_scenes(name):
    square = mean_iou(name, (128, 128))
    assert all(mean_iou(name, size) > 0.93 * square for size in (*STRETCHED, (512, 128), (200, 150)))


SAYING_NOTHING = ("agent:refshapes-any",)
"""Methods that may answer that nothing is meant."""


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_and_thinnest_pictures_get_a_box_inside(name, rng):
    pixels = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in EXTREME]
    images = [ArrayImage(array, f"picture {number}") for number, array in enumerate(pixels)]
    predictions = grounder(name).ground([Query(image, "the red circle", image.key) for image in images])
    for size, prediction in zip(EXTREME, predictions, strict=True):
        assert len(prediction.boxes) or name in SAYING_NOTHING, size
        assert all(box_ops.is_valid(box, size) for box in prediction.boxes), (size, prediction)


@pytest.mark.parametrize("name", ONE_STAGE)
def test_the_committed_config_makes_a_network_like_the_built_in_one(name):
    config = Path(__file__).parents[1] / "configs" / f"{name.replace('-', '_')}_refshapes.yaml"
    given = yaml.safe_load(config.read_text())["options"]
    options = json.loads((ASSETS / f"{name}-refshapes" / "config.json").read_text())["options"]
    assert given["canvas"] == "square" and given.items() <= options.items()


def test_networks_with_published_weights_keep_the_canvas_that_they_were_trained_on():
    kinds = {name: registry.network_class(name).Options().canvas for name in ONE_STAGE}
    assert kinds == {"mdetr": "shortest", "transvg": "letterbox", "dynamic-mdetr": "letterbox", "red": "letterbox"}
    with pytest.raises(VGGymError, match="unknown canvas 'stretch': known: letterbox, shortest, square"):
        Canvas("stretch", 128)

"""Make ``refcocog_tiny``: drawn images with annotations in the very layout of RefCOCOg, so that tests need no download.

python -m tests.data.make_refcocog_tiny
"""

import shutil
from pathlib import Path

from tests.data.refcocog_layout import write_refcocog_layout
from vg_gym.data.worlds.refshapes.dataset import RefShapes

ROOT = Path(__file__).parent / "refcocog_tiny"
SCENES = {"train": 2, "val": 1, "test": 2}
"""Split -> scenes; each has four expressions."""


def splits() -> list[RefShapes]:
    """The drawn data that the files hold."""
    return [RefShapes("refshapes", split, scenes=count, image_size=96) for split, count in SCENES.items()]


if __name__ == "__main__":
    shutil.rmtree(ROOT, ignore_errors=True)
    write_refcocog_layout(splits(), ROOT)

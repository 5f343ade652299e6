"""Draw samples of a data set on one sheet, each with its expression and its box.

python experiments/world_sheet.py [--dataset refscenes] [--split test] [--count 24] [--out docs/refscenes.jpg]
"""

from __future__ import annotations

import argparse
import textwrap

from PIL import Image, ImageDraw

from vg_gym.registry import open_dataset
from vg_gym.types import Sample

COLUMNS, GAP_PX, LINE_PX, LINE_CHARACTERS = 6, 6, 11, 42
CAPTION_PX = 3 * LINE_PX


def tile(sample: Sample, side: int) -> Image.Image:
    """Return a picture with its box, above its expression."""
    picture = Image.fromarray(sample.query.image.array())
    for x1, y1, x2, y2 in sample.boxes.tolist():
        ImageDraw.Draw(picture).rectangle((x1, y1, x2 - 1, y2 - 1), outline=(255, 30, 30), width=2)
    picture.thumbnail((side, side))
    sheet = Image.new("RGB", (side, side + CAPTION_PX), "white")
    sheet.paste(picture, ((side - picture.width) // 2, side - picture.height))
    words = "\n".join(textwrap.wrap(sample.query.expression, LINE_CHARACTERS))
    ImageDraw.Draw(sheet).text((2, side + 2), words, fill="black", spacing=0)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="refscenes")
    parser.add_argument("--split", default="test")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--every", type=int, default=5, help="distance of the samples")
    parser.add_argument("--side", type=int, default=224, help="side of a picture in pixels")
    parser.add_argument("--out", default="docs/refscenes.jpg")
    options = parser.parse_args()
    data = open_dataset(options.dataset, options.split)
    tiles = [tile(data[options.first + i * options.every], options.side) for i in range(options.count)]
    width, height = tiles[0].width + GAP_PX, tiles[0].height + GAP_PX
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(tiles) // COLUMNS) * height), "white")
    for number, picture in enumerate(tiles):
        sheet.paste(picture, (number % COLUMNS * width, number // COLUMNS * height))
    sheet.save(options.out, quality=80)


if __name__ == "__main__":
    main()

"""Draw episodes of an agent on RefShapes test.

python experiments/gallery.py [AGENT] [--out docs/trajectories.jpg] [--first 0]
"""

import argparse

from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.data.drawing import contact_sheet, draw_frame
from vg_gym.registry import grounder, open_dataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("agent", nargs="?", default="refshapes")
    parser.add_argument("--out", default="docs/trajectories.jpg")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    data = open_dataset("refshapes", "test")
    samples = [data[i] for i in range(options.first, options.first + 12)]
    predictions = grounder(f"agent:{options.agent}").ground([s.query for s in samples])
    frames = []
    for sample, prediction in zip(samples, predictions, strict=True):
        size = sample.query.image.size
        path = box_ops.normalize(prediction.details["trajectory"], size)
        target = box_ops.normalize(sample.box, size)
        iou = float(box_ops.iou(path[-1], target))
        frames.append(
            draw_frame(
                sample.query.image.array(),
                path[-1],
                target,
                list(path[:-1]),
                sample.query.expression,
                prediction.score,
                iou,
                str(len(path) - 1),
                260,
            )
        )
    Image.fromarray(contact_sheet(frames, 4)).save(options.out, quality=88)


if __name__ == "__main__":
    main()

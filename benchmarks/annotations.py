"""Time and memory of opening full-size annotations: first, again (through the index), and with plain code.

A set of RefCOCOg's size (25,799 images, 208,960 annotations with segmentations, 49,822 refs, 95,010 expressions) is
generated in a temporary folder; every row is measured in a separate process. "whole process" includes the interpreter
and all imports; peak memory is the high-water mark of the resident set (Linux). The last row is the lower bound: the
same imports, without opening anything.

python benchmarks/annotations.py
"""

import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, ANNOTATIONS, REFS, EXPRESSIONS = 25_799, 208_960, 49_822, 95_010
CATEGORIES = 80
IMPORT = "import time, warnings; warnings.simplefilter('ignore'); from vg_gym.registry import open_dataset\n"
OPEN = IMPORT + "start = time.perf_counter(); data = open_dataset('refcocog-umd', 'train', root=ROOT)\n"
# Like the published toolkit: load both files, and index their entries by id.
NAIVE = """
import json, pickle, time
start = time.perf_counter()
refs = pickle.load(open(ROOT + '/refs(umd).p', 'rb'))
instances = json.load(open(ROOT + '/instances.json'))
annotations = {a['id']: a for a in instances['annotations']}
images = {i['id']: i for i in instances['images']}
data = [(r, s, annotations[r['ann_id']]) for r in refs if r['split'] == 'train' for s in r['sentences']]
"""
END = """
seconds = time.perf_counter() - start
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(len(data), seconds, int(peak.split()[1]) / 1024)
"""
FLOOR = IMPORT + "import vg_gym.data.refcoco; data = (); start = time.perf_counter()\n"
SAMPLES = """
import random
chosen = random.Random(0).sample(range(len(data)), 20_000)
start = time.perf_counter()
for index in chosen:
    data[index]
"""
MASKS = SAMPLES.replace("20_000", "500").replace("data[index]", "data.segmentation(data[index].ann_id)")


def generate(folder: Path) -> None:
    """Write ``instances.json`` and ``refs(umd).p`` of RefCOCOg's size, with outlines of COCO's typical length."""
    rng = np.random.default_rng(0)
    image_of = np.sort(np.concatenate([np.arange(IMAGES), rng.integers(IMAGES, size=ANNOTATIONS - IMAGES)]))
    images = [
        {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 640, "height": 480, "license": 1}
        for i in range(IMAGES)
    ]
    ids = rng.permutation(ANNOTATIONS).tolist()  # as in COCO, ids do not follow the order of images
    annotations = [annotation(rng, ids[row], int(image)) for row, image in enumerate(image_of)]
    categories = [{"id": i, "name": f"category {i}", "supercategory": "thing"} for i in range(CATEGORIES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    chosen = rng.choice(ANNOTATIONS, REFS, replace=False)
    refs = [ref(rng, i, ids[row], int(image_of[row])) for i, row in enumerate(chosen)]
    (folder / "refs(umd).p").write_bytes(pickle.dumps(refs, protocol=2))


def annotation(rng: np.random.Generator, number: int, image: int) -> dict:
    x, y, w, h = (rng.random(4) * [400, 300, 200, 150] + [0, 0, 20, 20]).round(2).tolist()
    angles = np.sort(rng.random(27)) * 2 * np.pi
    outline = np.stack([x + w / 2 + w / 2 * np.cos(angles), y + h / 2 + h / 2 * np.sin(angles)], 1)
    return {
        "id": number,
        "image_id": image,
        "category_id": int(rng.integers(CATEGORIES)),
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [outline.round(2).ravel().tolist()],
    }


def ref(rng: np.random.Generator, number: int, ann_id: int, image: int) -> dict:
    first, last = number * EXPRESSIONS // REFS, (number + 1) * EXPRESSIONS // REFS
    words = ["the", "man", "in", "a", "red", "shirt", "standing", "behind", "table"]
    sentences = []
    for sent_id in range(first, last):
        tokens = [words[i] for i in rng.integers(len(words), size=8)]
        sentences.append({"sent_id": sent_id, "tokens": tokens, "raw": " ".join(tokens), "sent": " ".join(tokens)})
    name = f"COCO_train2014_{image:012d}_{ann_id}.jpg"
    ids = {"ref_id": number, "ann_id": ann_id, "image_id": image, "category_id": 1, "file_name": name}
    return {**ids, "split": "train", "sentences": sentences, "sent_ids": list(range(first, last))}


def measure(label: str, program: str, root: Path, per: int = 0) -> None:
    """Run a program in a new interpreter and print its row; ``per`` is a number of items for a time per item (us)."""
    start = time.perf_counter()
    command = [sys.executable, "-c", f"ROOT = {str(root)!r}\n{program}{END}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    whole = time.perf_counter() - start
    expressions, seconds, peak = output.split()
    item = f"{float(seconds) / per * 1e6:8.0f} us each" if per else ""
    print(f"{label:34}{int(expressions):>12,}{float(seconds):>10.3f} s{whole:>14.2f} s{float(peak):>12.0f} MB{item}")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        generate(root)
        sizes = {path.name: path.stat().st_size / 1e6 for path in root.iterdir()}
        print(", ".join(f"{name} {size:.0f} MB" for name, size in sorted(sizes.items())))
        print(f"{'':34}{'expressions':>12}{'opening':>12}{'whole process':>16}{'peak memory':>15}")
        measure("naive (json.load, pickle.load)", NAIVE, root)
        measure("first opening, writes the index", OPEN, root)
        measure("second opening", OPEN, root)
        measure("  then 20,000 random samples", OPEN + SAMPLES, root, 20_000)
        measure("  then 500 masks of random samples", OPEN + MASKS, root, 500)
        measure("floor: imports only", FLOOR, root)
        index = sum(path.stat().st_size for path in root.glob(".vg_gym_index/*/*"))
        print(f"index on disk: {index / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

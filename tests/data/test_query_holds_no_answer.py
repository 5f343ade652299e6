"""What a method is sent: pixels, words and a key, and nothing that leads to an answer, in every data set there is."""

import json
import pickle
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests.data.published_layouts import WRITERS
from tests.layouts import make_instances, make_refs, write_layout
from tests.reachable import answers
from vg_gym import registry
from vg_gym.data.refcoco import PUBLISHED_SETS
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.types import Query

pytestmark = pytest.mark.filterwarnings("ignore:.*this copy is partial", "ignore:.*has no .split.")
IMAGE_NAME = "COCO_train2014_{:012d}"


def layout(name, root):
    """A small copy of a published data set, with numbers and boxes that nothing else has."""
    instances = make_instances([(64, 48), (48, 64)])
    for annotation in instances["annotations"]:
        annotation["id"] += 7_000_000
        annotation["bbox"][:2] = annotation["bbox"][0] + 0.25, annotation["id"] % 10 + 5.5
    refs = make_refs(instances, list(PUBLISHED_SETS[name].splits)[:1])
    for ref in refs:
        ref["ref_id"] += 9_000_000
    write_layout(root, instances, refs, PUBLISHED_SETS[name].refs)
    return instances, refs


def published(name, root):
    instances, refs = layout(name, root)
    if PUBLISHED_SETS[name].any_targets:
        for ref, ann_ids in zip(refs, ([a["id"] for a in instances["annotations"][:3]], [-1]), strict=False):
            ref["ann_id"] = ann_ids
        write_layout(root, instances, refs, PUBLISHED_SETS[name].refs)
    return registry.open_dataset(name, list(PUBLISHED_SETS[name].splits)[0], root=str(root))


def drawn(name, root):
    return registry.open_dataset(name, "test", scenes=3)


def benchmark(name, root):
    WRITERS[name](root)
    return registry.open_dataset(name, registry.dataset_spec(name).splits[-1], root=str(root))


def rows_of(root):
    """(file name, expression, box as xyxy, annotation) of the layout."""
    instances, refs = layout("refcocog-umd", root)
    boxes = {annotation["id"]: annotation["bbox"] for annotation in instances["annotations"]}
    for ref in refs:
        x, y, width, height = boxes[ref["ann_id"]]
        name = f"images/train2014/{IMAGE_NAME.format(ref['image_id'])}.jpg"
        yield name, ref["sentences"][0]["sent"], [x, y, x + width, y + height], ref["ann_id"]


def json_lines(root):
    rows = [
        {"image": name, "expression": words, "box": box, "ann_id": number, "category": "quagga", "kind": "habitat"}
        for name, words, box, number in rows_of(root)
    ]
    (root / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return registry.open_dataset(str(root / "mine.jsonl"), "all")


def json_lines_of_any_number(root):
    rows = [*rows_of(root)]
    rows = [
        {"image": rows[0][0], "expression": "it", "kind": "habitat", "category": "quagga", "boxes": boxes}
        for boxes in ([rows[0][2], rows[1][2]], [], [rows[2][2]])
    ]
    (root / "any.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return registry.open_dataset(str(root / "any.jsonl"), "all")


def coco_style(root):
    instances, refs = layout("refcocog-umd", root)
    words = {ref["ann_id"]: ref["sentences"][0]["sent"] for ref in refs}
    for annotation in instances["annotations"]:
        annotation["expressions"] = [words[annotation["id"]], f"{words[annotation['id']]} again"]
        annotation["id"] = f"row {annotation['id'] % 1000}"  # what the user calls it is in the key
    for image in instances["images"]:
        image["file_name"] = f"images/train2014/{image['file_name']}"
    (root / "mine.json").write_text(json.dumps(instances))
    return registry.open_dataset(str(root / "mine.json"), "all")


def parquet_of_pixels(root):
    """As lmms-lab's copies: the number of the object is in the name of its image, twice."""
    rows = []
    for name, words, (x1, y1, x2, y2), number in rows_of(root):
        pixels = {"bytes": (root / name).read_bytes(), "path": f"{number}.jpg"}
        named = f"{number % 1000 // 10:012d}_{number}.jpg"
        rows.append({"question_id": str(number), "image": pixels, "answer": [words], "file_name": named,
                     "bbox": [x1, y1, x2 - x1, y2 - y1]})  # fmt: skip
    return opened(root, rows)


def parquet_of_lists(root):
    """As copies whose rows have a list of one image each."""
    rows = [{"id": number, "pictures": [{"bytes": (root / name).read_bytes(), "path": f"{number}.jpg"}], "words": words,
             "where": box} for name, words, box, number in rows_of(root)]  # fmt: skip
    return opened(root, rows, image="pictures", expressions="words", box="where", box_format="xyxy", ann_id="id")


def parquet_of_any_number(root):
    """With a column of lists of boxes, which may be empty."""
    rows = [
        {"pictures": {"bytes": (root / name).read_bytes(), "path": "a.jpg"}, "words": words, "where": boxes}
        for (name, words, box, _), boxes in ((row, [row[2]] * (k % 2)) for k, row in enumerate(rows_of(root)))
    ]
    return opened(root, rows, image="pictures", expressions="words", boxes="where", box_format="xyxy")


def parquet_of_names(root):
    """As jxu124's copies: the images are COCO's."""
    rows = [{"ref_id": number, "ann_id": number, "image_id": 1, "sent_ids": [5], "bbox": box, "captions": [words],
             "image_path": name} for name, words, box, number in rows_of(root)]  # fmt: skip
    return opened(root, rows, root=str(root))


def opened(folder, rows, **options):
    (folder / "parquet").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "parquet" / "test.parquet")
    return registry.open_dataset(f"hub:{folder / 'parquet'}", "test", **options)


OPENERS = {
    "vg_gym.data.worlds.refshapes.dataset:open_refshapes": drawn,
    "vg_gym.data.worlds.refscenes.samples:open_refscenes": drawn,
    "vg_gym.data.refcoco:open_refcoco": published,
    "vg_gym.data.published_parquet:open_published_parquet": benchmark,
    "vg_gym.data.published_rows:open_published_rows": benchmark,
}
"""Factory of data sets -> what opens a small copy of one of them."""
KINDS_OF_FILES = {
    registry.dataset_spec("a.jsonl").factory: (json_lines, json_lines_of_any_number, coco_style),
    registry.dataset_spec("hub:a/b").factory: (
        parquet_of_pixels,
        parquet_of_lists,
        parquet_of_any_number,
        parquet_of_names,
    ),
}
"""Factory of data sets that are named by a place -> what writes such files and opens them."""


def copies():
    """A small copy of everything that the registry names."""
    for name, spec in registry.DATASETS.items():
        yield pytest.param(partial(OPENERS[spec.factory], name), id=name)
    for spec in (registry.FILES, *registry.DATASET_KINDS.values()):
        yield from (pytest.param(writer, id=writer.__name__) for writer in KINDS_OF_FILES[spec.factory])


@pytest.mark.parametrize("open_copy", [*copies()])
def test_nothing_that_a_query_leads_to_is_an_answer(open_copy, tmp_path):
    data = open_copy(tmp_path)
    for sample in data[: min(len(data), 12)]:
        sample.query.image.array()  # caches are full
        assert not [path for path, _ in answers(sample)]
        assert not [path for path, _ in answers(replace(sample, query=pickle.loads(pickle.dumps(sample.query))))]


@dataclass
class Leaky:
    """A picture that leads to something more."""

    key: str
    size: tuple[int, int]
    more: object = None

    def array(self):
        return np.zeros((*self.size[::-1], 3), np.uint8)


class Remembers(Leaky):
    @lru_cache  # noqa: B019
    def answer(self, what):
        return self.truth[what]

    __hash__ = object.__hash__


class Offers(Leaky):
    __slots__ = ("_hidden",)

    @property
    def box(self):
        return [float(side) for side in self._hidden.split()]


def remembering(sample):
    image = Remembers("a", (128, 128))
    Remembers.truth = {"box": sample.box}
    image.answer("box")
    del Remembers.truth
    return image


def offering(sample):
    image = Offers("a", (128, 128))
    image._hidden = " ".join(map(str, sample.box.tolist()))
    return image


LEAKS = {
    "sample": lambda s: s,
    "data set": lambda s: RefShapes("refshapes", "test"),
    "bound method of the data set": lambda s: RefShapes("refshapes", "test").record,
    "scene": lambda s: RefShapes("refshapes", "test").record(s.image_id % 10_000_000),
    "list": lambda s: {"deep": [{"boxes": s.box[None].tolist()}]},
    "names": lambda s: dict(zip(("left", "top", "right", "bottom"), s.box.tolist(), strict=True)),
    "normalised": lambda s: tuple((s.box / 128).tolist()),
    "left, top, width, height": lambda s: [*s.box[:2], *(s.box[2:] - s.box[:2])],
    "closure": lambda s: lambda: s.box,
    "default": lambda s: lambda box=s.box: box,
    "partial": lambda s: partial(print, s.box),
    "view": lambda s: np.concatenate([s.box, np.zeros(4)])[4:],
    "table": lambda s: pyarrow.table({"bbox": [s.box.tolist()]}),
    "text": lambda s: f"scene {s.box.tolist()}",
    "file name": lambda s: f"COCO_train2014_000000000001_{s.ann_id}.jpg",
    "number": lambda s: s.ann_id,
    "kind": lambda s: f"refshapes/{s.kind}",
    "category": lambda s: s.category,
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_the_walk_finds_an_answer_wherever_it_is(leak):
    sample = next(s for s in RefShapes("refshapes", "test") if s.category not in s.query.expression.split())
    image = Leaky("a", (128, 128), LEAKS[leak](sample))
    assert [*answers(replace(sample, query=Query(image, sample.query.expression, "b")))]


@pytest.mark.parametrize("leaky", [remembering, offering])
def test_the_walk_finds_caches_and_properties(leaky):
    sample = RefShapes("refshapes", "test")[0]
    assert [*answers(replace(sample, query=Query(leaky(sample), sample.query.expression, "b")))]
    assert not [*answers(replace(sample, query=Query(Leaky("a", (128, 128)), sample.query.expression, "b")))]


@pytest.mark.parametrize("name", [name for name in registry.DATASETS if name.startswith("refshapes")])
def test_keys_of_drawn_scenes_tell_neither_kind_nor_order(name):
    samples = RefShapes(name, "test", scenes=400)[:]
    assert len({sample.query.key for sample in samples}) == len(samples)
    scenes = [samples[i : i + 4] for i in range(0, len(samples), 4)]
    ranks = Counter((s.kind, rank) for four in scenes for rank, s in enumerate(sorted(four, key=key_of)))
    totals = Counter(sample.kind for sample in samples)
    assert len(ranks) == 4 * len(totals)
    for (kind, _), count in ranks.items():  # a quarter of each kind; 3.5 standard deviations to either side
        assert abs(count - totals[kind] / 4) <= 3.5 * (totals[kind] * 3 / 16) ** 0.5
    images = [four[0].query.image.key for four in scenes]
    rising = sum(one < other for one, other in pairwise(images))
    assert 150 <= rising <= 250, "keys rise or fall with the number of the scene"
    for place in range(len(samples[0].query.key)):
        by_kind = Counter((s.query.key[place], s.kind) for s in samples)
        assert max(by_kind.values()) <= 0.375 * max(totals.values()) or len({letter for letter, _ in by_kind}) == 1


def key_of(sample):
    return sample.query.key


def test_a_picture_is_drawn_alike_wherever_its_key_goes():
    for sample in RefShapes("refshapes-hard", "val", seed=2**63, image_size=96)[::500]:
        copied = pickle.loads(pickle.dumps(sample.query))
        assert copied == sample.query and copied.image.size == (96, 96)
        np.testing.assert_array_equal(copied.image.array(), sample.query.image.array())

"""Shortcuts of RefScenes: what remains of the answers without a word, without the order of words, or without pictures.

python experiments/scene_shortcuts.py --json out.json      # a quarter of an hour on one core
python experiments/scene_shortcuts.py --train 300 --test 100    # three minutes

The oracle evaluates the meaning of each expression against the scene graph, and picks at random among all that it may
mean. It loses a test or a pick ("deleted attribute"), or its nouns, colours, places and relations change places
("shuffled words"). Two small models are trained: one sees the crops and boxes of the things that may be meant and no
word; the other sees the words and no picture, and answers with one of a few usual boxes. Chance is one of the
things that may be meant, and for the second model the best of the usual boxes.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from vg_gym.boxes import iou_matrix
from vg_gym.cli.figures import write_figures
from vg_gym.data.worlds.refscenes.chunks import labels_of, pixels_of
from vg_gym.data.worlds.refscenes.graph import Graph, graph_of, members
from vg_gym.data.worlds.refscenes.language import Expression
from vg_gym.data.worlds.refscenes.meaning import Color, Pattern, Phrase, Pick, Place, Related, Sort, Test, drop
from vg_gym.data.worlds.refscenes.records import SceneRecord, eligible, scene_of, worded
from vg_gym.data.worlds.refscenes.renderer import truth_alone

CROP_PX = 32
"""Side of the crops that the model without words sees, in pixels."""
USUAL_BOXES = 48
"""Number of boxes that the model without pictures chooses from."""
DRAWS = 8
"""Number of shuffled meanings of each expression."""
MIN_WORD_COUNT = 3
"""Number of expressions from which a word is known to the model without pictures."""


@dataclass(frozen=True)
class Described:
    """A scene with its expressions, as a data set has them."""

    record: SceneRecord
    graph: Graph
    boxes: np.ndarray
    """Boxes divided by (width, height), float32 (N, 4)."""
    candidates: list[int]
    """Indices of the things that are large and visible enough to be meant."""
    expressions: list[Expression]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--train", type=int, default=1500, help="scenes that the models learn from")
    p.add_argument("--test", type=int, default=500, help="scenes that everything is measured on")
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--json", type=Path, help="also write the figures there")
    o = p.parse_args()
    test = [described("test", i) for i in tqdm(range(o.test), desc="test")]
    figures = dict(oracle_figures(test)) | dict(rule_figures(test))
    train = [described("train", i) for i in tqdm(range(o.train), desc="train")]
    figures |= {"picture only": picture_only(train, test, o.epochs)}
    figures |= dict(words_only(train, test, o.epochs))
    for name, figure in figures.items():
        print(f"{name}: {figure:.3f}")
    if o.json:
        write_figures(o.json, figures)


def described(split: str, index: int) -> Described:
    """Return a scene of the data set with the meanings of its expressions."""
    record = SceneRecord(split, index, 0, 256)
    attempt = labels_of(record).attempt
    scene = scene_of(record, attempt)
    truth = truth_alone(scene)
    expressions = worded(record, scene, truth, record.rng("words", attempt))
    boxes = truth.boxes / np.array([scene.width, scene.height] * 2, np.float32)
    return Described(record, graph_of(scene, truth), boxes, eligible(record, scene, truth), expressions)


def each(scenes: Sequence[Described]) -> Iterator[tuple[Described, Expression]]:
    """Yield every expression with its scene."""
    return ((scene, expression) for scene in scenes for expression in scene.expressions)


def oracle_figures(scenes: Sequence[Described]) -> Iterator[tuple[str, float]]:
    """Yield the accuracy of the oracle with all words, with a word less, and with shuffled words."""
    rng = np.random.default_rng(0)
    whole, less, mixed, other = [], [], [], []
    for scene, expression in each(scenes):
        target = expression.targets[0]
        whole.append(guess(scene, expression.meaning, target))
        less += (
            [np.mean([guess(scene, m, target) for m in shorter])] if (shorter := [*drop(expression.meaning)]) else []
        )
        readings = [shuffled(expression.meaning, rng) for _ in range(DRAWS)]
        mixed += [guess(scene, reading, target) for reading in readings]
        others = [guess(scene, reading, target) for reading in readings if reading != expression.meaning]
        other += [np.mean(others)] if others else [1.0]
    yield "oracle", float(np.mean(whole))
    yield "oracle, one attribute deleted", float(np.mean(less))
    yield "oracle, words shuffled", float(np.mean(mixed))
    yield "oracle, another reading of the shuffled words", float(np.mean(other))


def guess(scene: Described, meaning: Phrase, target: int) -> float:
    """Return the probability that a random one of the things that a meaning may mean is the target."""
    fit = meaning.fit(scene.graph)
    options = set(members(fit.clear or fit.possible)) or set(scene.candidates)
    return (target in options) / len(options)


def shuffled(meaning: Phrase, rng: np.random.Generator) -> Phrase:
    """Return a meaning whose nouns, colours, patterns, places, orders and relations have changed places."""
    words: dict[str, list] = {}
    walk(meaning, lambda slot, value: words.setdefault(slot, []).append(value) or value)
    mixed = {slot: [values[i] for i in rng.permutation(len(values))] for slot, values in words.items()}
    return walk(meaning, lambda slot, value: mixed[slot].pop())


def walk(node, change):
    """Return a meaning with its words replaced by ``change(slot, word)``."""
    if isinstance(node, Sort | Color | Pattern | Place | Related | Pick):
        fields = {Sort: "name", Color: "color", Pattern: "pattern", Place: "name", Related: "relation", Pick: "rank"}
        name = fields[type(node)]
        node = replace(node, **{name: change(type(node).__name__, getattr(node, name))})
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Test | Pick):
            node = replace(node, **{field.name: walk(value, change)})
        elif isinstance(value, tuple):
            node = replace(node, **{field.name: tuple(walk(test, change) for test in value)})
    return node


def rule_figures(scenes: Sequence[Described]) -> Iterator[tuple[str, float]]:
    """Yield chance, and how much more often than by chance the target is the largest thing, the nearest, and so on."""
    pairs = [(scene, expression.targets[0]) for scene, expression in each(scenes)]
    yield "chance", float(np.mean([1 / len(scene.candidates) for scene, _ in pairs]))
    rules = {
        "largest": lambda graph: graph.area,
        "nearest": lambda graph: -graph.depth,
        "leftmost": lambda graph: -graph.boxes[:, 0],
        "most visible": lambda graph: graph.visible + 1e-6 * graph.area,
        "most central": lambda graph: -np.abs(graph.boxes[:, ::2].mean(1) - graph.width / 2),
    }
    for name, rule in rules.items():
        right = [
            scene.candidates[int(rule(scene.graph)[scene.candidates].argmax())] == target for scene, target in pairs
        ]
        yield f"the one: {name}", float(np.mean(right))


class CropModel(nn.Module):
    """Score of a thing by its crop and its box."""

    def __init__(self):
        super().__init__()
        self.crop = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1),
            nn.ReLU(), nn.Flatten(), nn.Linear(32 * (CROP_PX // 8) ** 2, 32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(32 + 6, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, crops: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return the scores, float32 (n,), of things with these crops and boxes."""
        sides = boxes[:, 2:] - boxes[:, :2]
        return self.head(torch.cat([self.crop(crops), boxes, sides], 1))[:, 0]


def crops_of(scene: Described) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the crops, float32 (n, 3, CROP_PX, CROP_PX), and the boxes of the things that may be meant."""
    pixels = torch.from_numpy(pixels_of(scene.record).copy()).permute(2, 0, 1).float() / 255
    size = np.array([pixels.shape[2], pixels.shape[1]] * 2)
    crops = []
    for box in scene.boxes[scene.candidates] * size:
        x1, y1, x2, y2 = box.astype(int)
        crops.append(nn.functional.interpolate(pixels[None, :, y1:y2, x1:x2], (CROP_PX, CROP_PX))[0])
    return torch.stack(crops), torch.from_numpy(scene.boxes[scene.candidates])


def picture_only(train: Sequence[Described], test: Sequence[Described], epochs: int) -> float:
    """Train a model that sees no words, and return how often it picks the target."""
    torch.manual_seed(0)
    model, seen = CropModel(), [(*crops_of(scene), targets_of(scene)) for scene in train]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for _ in tqdm(range(epochs), desc="picture only"):
        for start in range(0, len(seen), 16):
            losses = []
            for crops, boxes, targets in seen[start : start + 16]:
                losses.append(nn.functional.cross_entropy(model(crops, boxes).expand(len(targets), -1), targets))
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
    with torch.no_grad():
        right = [model(*crops_of(scene)).argmax() == targets_of(scene) for scene in test]
    return float(torch.cat(right).float().mean())


def targets_of(scene: Described) -> torch.Tensor:
    """Return the place of each target among the things that may be meant, int64 (E,)."""
    return torch.tensor([scene.candidates.index(expression.targets[0]) for expression in scene.expressions])


def words_only(train: Sequence[Described], test: Sequence[Described], epochs: int) -> Iterator[tuple[str, float]]:
    """Train a model that sees no picture, and yield its Acc@0.5 and that of the best constant box."""
    torch.manual_seed(0)
    counts = Counter(word for _, expression in each(train) for word in set(expression.text.split()))
    places = {word: i for i, word in enumerate(sorted(w for w, n in counts.items() if n >= MIN_WORD_COUNT))}
    answers = np.stack([scene.boxes[expression.targets[0]] for scene, expression in each(train)])
    usual = answers[np.random.default_rng(0).choice(len(answers), min(USUAL_BOXES, len(answers)), replace=False)]
    hits = torch.from_numpy((iou_matrix(answers, usual) >= 0.5).astype(np.float32))
    model = nn.Linear(len(places), len(usual))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    words = bags(train, places)
    for _ in range(20 * epochs):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(words), hits).backward()
        optimizer.step()
    truth = np.stack([scene.boxes[expression.targets[0]] for scene, expression in each(test)])
    right = torch.from_numpy(iou_matrix(truth, usual) >= 0.5)
    chosen = model(bags(test, places)).argmax(1)
    yield "words only, Acc@0.5", float(right[torch.arange(len(right)), chosen].float().mean())
    yield "constant box, Acc@0.5", float(right[:, hits.mean(0).argmax()].float().mean())


def bags(scenes: Sequence[Described], places: dict[str, int]) -> torch.Tensor:
    """Return which words each expression has, float32 (E, W)."""
    rows = []
    for _, expression in each(scenes):
        row = torch.zeros(len(places))
        row[[places[word] for word in set(expression.text.split()) if word in places]] = 1
        rows.append(row)
    return torch.stack(rows)


if __name__ == "__main__":
    main()

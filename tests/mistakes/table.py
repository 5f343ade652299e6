"""Mistakes that a user may make, with what the one-line answer must say: the thing that is wrong, and the remedy."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from vg_gym.config import CONFIGS
from vg_gym.evaluation.results import write_results

SCENE = Path(__file__).parents[2] / "docs" / "scene.png"
TEXT = "the striped crescent left of the red crescent"
OUT = ("--dataset", "refshapes", "--limit", "4", "--out", "results/mine")
METHOD = '''"""A method with an error in its second line."""

from vg_gym.types import Prediction


class Broken:
    name = "broken"

    def ground(self, queries, initial_boxes=None):
        return [Prediction(query.bxo) for query in queries]
'''


@dataclass(frozen=True)
class Mistake:
    """A command or a program with a mistake."""

    typed: str | tuple[str, ...]
    """Python code, or the words of a command after ``vg-gym``."""
    says: tuple[str, ...]
    """Words of the answer, in any order: the thing and the remedy."""
    silent: tuple[str, ...] = ()
    """Words that must not be printed, e.g. of work that was done before the mistake surfaced."""
    leaves_files: bool = False
    """True if it may leave files, e.g. predictions of other methods."""

    def __str__(self) -> str:
        return self.typed if isinstance(self.typed, str) else " ".join(["vg-gym", *map(_quoted, self.typed)])


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word or not word else word


def make_files(folder: Path) -> None:
    """Write the files that the mistakes name into a folder."""
    shutil.copy(SCENE, folder / "scene.png")
    (folder / "notes.txt").write_text("not a picture\n")
    (folder / "broken_method.py").write_text(METHOD)
    (folder / "nobox.jsonl").write_text('{"image": "scene.png", "expression": "the star"}\n')
    (folder / "outside.jsonl").write_text('{"image": "scene.png", "expression": "the star", "box": [0, 0, 900, 9]}\n')
    (folder / "noimage.jsonl").write_text('{"picture": "scene.png", "expression": "the star", "box": [0, 0, 9, 9]}\n')
    (folder / "comma.json").write_text('[{"image": "scene.png", "expression": "the star", "box": [0, 0, 9, 9]},]')
    (folder / "answers.jsonl").write_text('{"key": "unknown", "box": [0, 0, 9, 9]}\n')
    (folder / "tabs.yaml").write_text("reward: iou\n\tseed: 3\n")
    (folder / "unknown.yaml").write_text("reward: iou\nlearning_rat: 0.001\n")
    (folder / "finished").mkdir()
    config = (CONFIGS / "agent_refshapes.yaml").read_text()
    (folder / "finished" / "config.yaml").write_text(f"{config}\nresume: false\nfresh: false\n")
    (folder / "finished" / "last").mkdir()
    row = {"method": "center", "role": "method", "dataset": "refshapes", "split": "test", "n": 4, "by_kind": {}}
    row |= {"mean_iou": 0.1, "acc@0.5": 0.0, "acc@0.75": 0.0, "mean_iou_ci": None, "acc@0.5_ci": None}
    (folder / "table").mkdir()
    write_results(folder / "table", {"content": "0123456789abcdef", "limit": 4}, [row])


def _evaluate(*words: str) -> tuple[str, ...]:
    return ("evaluate", *words)


def _ground(words: str) -> str:
    return f"import vg_gym; vg_gym.ground({words})"


def _env(words: str = "", then: str = "") -> str:
    made = f'gymnasium.make("RefShapes-Ground-v0", dataset_options={{"scenes": 4}}{words})'
    return f"import gymnasium, vg_gym; env = {made}{then}"


PREDICTING = ("full: ", "center: ", "query/s")

MISTAKES = [
    # Evaluation
    Mistake(_evaluate("--methods", "center,yolo-clp", *OUT), ("'yolo-clp'", "did you mean 'yolo-clip'?"), PREDICTING),
    Mistake(_evaluate("--mehtods", "center", *OUT), ("--mehtods", "did you mean --methods?")),
    Mistake(_evaluate("--methods", "center", "--dataset", "refshapes"), ("--out",)),
    Mistake(_evaluate("--methods", "center", "--dataset", "refshape", "--out", "results/mine"),
            ("'refshape'", "did you mean 'refshapes'?")),
    Mistake(_evaluate("--methods", "center", "--split", "tset", *OUT), ("'tset'", "did you mean 'test'?")),
    Mistake(_evaluate("--methods", "center", "--limit", "0", "--dataset", "refshapes", "--out", "results/mine"),
            ("--limit", "0", "at least 1")),
    Mistake(_evaluate("--methods", "center,ssd-clip", *OUT, "ssd-clip.parze=true"),
            ("option of ssd-clip", "'parze'", "did you mean 'parse'?"), PREDICTING),
    Mistake(_evaluate("--methods", "center", *OUT, "center.fraction=2"),
            ("center.fraction", "2", "between 0 and 1"), PREDICTING),
    Mistake(_evaluate("--methods", "center", *OUT, "fraction=0.5"), ("'fraction=0.5'", "METHOD.KEY=VALUE")),
    Mistake(_evaluate("--methods", "center", *OUT, "ssd-clip.parse=true"), ("'ssd-clip'", "--methods")),
    Mistake(_evaluate("--methods", "center,agent:runs/nothing", *OUT), ("runs/nothing", "train_agent.py"), PREDICTING),
    Mistake(_evaluate("--methods", "center,agent", *OUT), ("agent", "agent:NAME"), PREDICTING),
    Mistake(_evaluate("--methods", "center,mdetr", *OUT, "mdetr.weights=nothing.pt"), ("nothing.pt",), PREDICTING),
    Mistake(_evaluate("--methods", "clip-window", "--clip", "refshape", *OUT),
            ("'refshape'", "did you mean 'refshapes'?"), PREDICTING),
    Mistake(_evaluate("--methods", "center", "--refine", "ssd-clip", *OUT), ("ssd-clip", "--refine", "agent"),
            PREDICTING),
    Mistake(_evaluate("--methods", "broken_method:Borken", *OUT), ("'Borken'", "did you mean 'Broken'?")),
    Mistake(_evaluate("--methods", "broken_methods:Broken", *OUT), ("'broken_methods'", "module")),
    Mistake(_evaluate("--methods", "broken_method:Broken", *OUT), ("broken_method.py", "line 10", "bxo", "--debug"),
            leaves_files=True),
    Mistake(_evaluate("--predictions", "answer.jsonl", *OUT), ("answer.jsonl",), PREDICTING),
    Mistake(_evaluate("--predictions", "answers.jsonl", *OUT), ("answers.jsonl", "'unknown'"), PREDICTING),
    Mistake(_evaluate("--methods", "ssd-clip", "--fit-threshold", "test", *OUT), ("fitted on test", "another split"),
            PREDICTING),
    Mistake(_evaluate("--methods", "center", "--dataset", "refcocog-umd", "--out", "results/mine"),
            ("refcocog-umd", "vg-gym download refcocog")),
    Mistake(_evaluate("--methods", "center", "--dataset", "mine.jsonl", "--out", "results/mine"), ("mine.jsonl",)),
    Mistake(_evaluate("--methods", "center", "--dataset", "noimage.jsonl", "--split", "all", "--out", "results/mine"),
            ("noimage.jsonl", "row 1", "image")),
    Mistake(_evaluate("--methods", "center", "--dataset", "outside.jsonl", "--split", "all", "--out", "results/mine"),
            ("outside.jsonl", "row 1", "900")),
    Mistake(_evaluate("--methods", "center", "--dataset", "comma.json", "--split", "all", "--out", "results/mine"),
            ("comma.json", "JSON")),
    Mistake(_evaluate("--methods", "center", "--dataset", "refshapes", "--out", "notes.txt"),
            ("notes.txt", "File exists", "another place")),
    # Training
    Mistake(("train", "agnet"), ("agnet", "did you mean agent?")),
    Mistake(("train", "agent", "--minutes", "1"), ("--minutes 1", "minutes=1")),
    Mistake(("train", "agent", "minutes=one"), ("minutes", "'one'", "number")),
    Mistake(("train", "agent", "minuts=1"), ("'minuts'", "did you mean 'minutes'?")),
    Mistake(("train", "agent", "num_envs=0"), ("'num_envs'", "0", "at least 1")),
    Mistake(("train", "agent", "reward=giou"), ("'giou'", "clip+iou")),
    Mistake(("train", "agent", "action=edge"), ("'edge'", "did you mean 'edges'?")),
    Mistake(("train", "agent", "mdetr_refshapes"), ("mdetr_refshapes", "vg-gym train grounder")),
    Mistake(("train", "agent", "tabs.yaml"), ("tabs.yaml", "line 2")),
    Mistake(("train", "agent", "unknown.yaml"), ("unknown.yaml", "'learning_rat'", "did you mean 'learning_rate'?")),
    Mistake(("train", "agent", "resume=true", "out=runs/nothing"), ("runs/nothing", "out=")),
    Mistake(("train", "agent", "out=finished", "minutes=1"), ("finished", "resume=true", "fresh=true")),
    Mistake(("train", "agent", "dataset=refcocog-umd"), ("refcocog-umd", "vg-gym download refcocog")),
    Mistake(("train", "agent", "dataset=nobox.jsonl"), ("reward='iou' needs box labels", "reward='clip'")),
    Mistake(("train", "agent", "device=cuda"), ("cuda", "device=cpu")),
    Mistake(("train", "grounder", "agent_refshapes"), ("agent_refshapes", "vg-gym train agent")),
    # Pictures
    Mistake(("ground", "nothing.png", TEXT), ("nothing.png",)),
    Mistake(("ground", "notes.txt", TEXT), ("notes.txt", "picture")),
    Mistake(("ground", "scene.png", ""), ("expression is empty",)),
    Mistake(("ground", "scene.png", TEXT, "--method", "yolo-clp"), ("'yolo-clp'", "did you mean 'yolo-clip'?")),
    Mistake(("ground", "scene.png", TEXT, "--out", "boxed.xyz"), ("boxed.xyz", ".png")),
    Mistake(_ground(f'"scene.png", "{TEXT}", methd="center"'), ("'methd'", "did you mean 'method'?")),
    Mistake(_ground(f'"nothing.png", "{TEXT}"'), ("nothing.png",)),
    Mistake(_ground(f'"scene.png", "{TEXT}", "center", fration=0.3'), ("'fration'", "did you mean 'fraction'?")),
    # Other commands
    Mistake(("evalute", "--methods", "center", *OUT), ("evalute", "did you mean evaluate?")),
    Mistake(("list", "grouders"), ("grouders", "did you mean grounders?")),
    Mistake(("compare", "table", "nothing"), ("nothing", "results.json")),
    Mistake(("compare", "table", "table", "--a", "centre"), ("'centre'", "center")),
    Mistake(("leaderboard", "nothing"), ("nothing", "folder")),
    Mistake(("push", "nothing", "ORG/NAME"), ("nothing", "train_agent.py")),
    Mistake(("play", "RefShape-Ground-v0"), ("RefShape-Ground-v0", "did you mean 'RefShapes-Ground-v0'?")),
    Mistake(("features", "--out", "store"), ("--dataset",)),
    Mistake(("download", "refcocogg"), ("refcocogg", "did you mean refcocog?")),
    # Environment and Python
    Mistake(_env(', reward="giou"'), ("'giou'", "clip+iou")),
    Mistake(_env(", max_step=3"), ("'max_step'", "did you mean 'max_steps'?")),
    Mistake(_env(', action="edge"'), ("'edge'", "did you mean 'edges'?")),
    Mistake(_env(', initial_box="ful"'), ("'ful'", "did you mean 'full'?")),
    Mistake(_env(', dataset="refshape"'), ("'refshape'", "did you mean 'refshapes'?")),
    Mistake(_env(', split="tset"'), ("'tset'", "did you mean 'test'?")),
    Mistake(_env(', action="edges"', '.unwrapped; env.reset(seed=0); env.step(99)'), ("99", "[0, 20]")),
    Mistake(_env("", ".unwrapped; env.step(env.action_space.sample())"), ("reset()",)),
    Mistake(_env("", '; env.reset(options={"expresion": "the star"})'), ("'expresion'", "index")),
    Mistake(_env("", '; env.reset(options={"index": 10**6})'), ("1000000", "index")),
    Mistake('import vg_gym.registry; vg_gym.registry.grounder("centre")', ("'centre'", "did you mean 'center'?")),
    Mistake('from vg_gym.registry import open_dataset; open_dataset("refshapes", "test", sead=1)',
            ("'sead'", "known: image_size, scenes, seed")),
    Mistake("import vg_gym; vg_gym.registri", ("'registri'", "did you mean 'registry'?")),
]  # fmt: skip

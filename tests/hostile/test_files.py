"""Files from strangers, damaged at random: they are read, or refused in one line that names the file; nothing else."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vg_gym.agents.checkpoint import find_agent, read_about
from vg_gym.agents.config import TrainConfig
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.clip.loader import load_clip
from vg_gym.config import load_config
from vg_gym.data.annotations import parse_instances, parse_refs
from vg_gym.data.archives import Archive, WrongFile, extract
from vg_gym.data.images import read_image
from vg_gym.data.published_files import parse_finecops, parse_humanref, parse_reviewed
from vg_gym.data.safe_pickle import load_plain_pickle
from vg_gym.errors import VGGymError
from vg_gym.evaluation.recorded import RecordedGrounder
from vg_gym.evaluation.recorded_detections import recorded_detections
from vg_gym.evaluation.report.leaderboard import markdown, ranked, read_folder, write_leaderboard
from vg_gym.evaluation.results import Queries
from vg_gym.features.manifest import Manifest
from vg_gym.features.store import FeatureStore
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.state import TrainingState
from vg_gym.registry import grounder, open_dataset
from vg_gym.storage.assets import ASSETS

TINY = Path(__file__).parents[1] / "data" / "refcocog_tiny"


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes, cut, changed, doubled or replaced."""
    places = st.integers(0, len(content))
    few = st.binary(max_size=12)
    cut = places.map(lambda at: content[:at])
    changed = st.tuples(places, few).map(lambda x: content[: x[0]] + x[1] + content[x[0] + len(x[1]) :])
    inserted = st.tuples(places, few).map(lambda x: content[: x[0]] + x[1] + content[x[0] :])
    numbers = [b"0", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'""', b"9" * 40, b"true"]
    places_of_numbers = [i for i, c in enumerate(content[:20000]) if chr(c).isdigit()] or [0]
    swapped = st.tuples(st.sampled_from(places_of_numbers), st.sampled_from(numbers)).map(
        lambda x: content[: x[0]] + x[1] + content[x[0] + 1 :]
    )
    return st.one_of(cut, changed, inserted, swapped, st.binary(max_size=64))


def jpeg(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, kind)
    return buffer.getvalue()


def text(value) -> bytes:
    return json.dumps(value).encode()


def build_agent(path: Path) -> None:
    """An agent whose agent.json is the file."""
    folder = path.parent / "agent"
    shutil.copytree(find_agent("refshapes-clip"), folder, dirs_exist_ok=True)
    shutil.copy(path, folder / "agent.json")
    AgentGrounder(str(folder))


def build_weights(path: Path) -> None:
    """A learned grounder whose config.json is the file."""
    folder = path.parent / "weights"
    shutil.copytree(ASSETS / "red-refshapes", folder, dirs_exist_ok=True)
    shutil.copy(path, folder / "config.json")
    grounder("red", weights=str(folder))


def open_store(path: Path) -> None:
    folder = path.parent / "store"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "manifest.json")
    Manifest.load(folder)


def read_keys(path: Path) -> None:
    """A store whose array of queries is the file."""
    folder = path.parent / "keys"
    folder.mkdir(exist_ok=True)
    MANIFEST.save(folder)
    for name in ("images", "texts"):
        (folder / f"{name}.jsonl").write_text('"a"\n"b"\n')
    shutil.copy(path, folder / "queries.npy")
    _ = FeatureStore(folder).keys


def rank(path: Path) -> None:
    """A leaderboard of two results, one of which is the file."""
    folder = path.parent / "board"
    folder.mkdir(exist_ok=True)
    (folder / "good.results.json").write_bytes(text(RESULTS))
    shutil.copy(path, folder / "other.results.json")
    results = read_folder(folder)
    entries = ranked(results, folder)
    assert markdown(entries).count("\n") == len(entries) + 1
    write_leaderboard(path.parent / "board.html", entries, results, "mean-iou")


def pair(path: Path) -> None:
    """IoUs of a method for each query, of which the file tells."""
    Queries(path, CONTENT).values("center")


def own_data(path: Path) -> None:
    """All rows of a data set of one's own."""
    dataset = open_dataset(str(path), "test")
    assert all(sample.boxes.shape[1:] == (4,) for sample in dataset)


def captions() -> bytes:
    """A file of FineCops-Ref with a positive and a negative expression."""
    images = [{"id": k, "file_name": "a.png", "width": 8, "height": 8, "caption": "it"} for k in range(2)]
    positive = {"id": 0, "image_id": 0, "bbox": [0, 0, 3, 4], "level": 1}
    negative = {**positive, "id": 1, "image_id": 1, "negative_type": "swap", "negative_cate": "text"}
    return text({"images": images, "annotations": [positive, negative]})


def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"step": 1, "best": 0.5, "module": {"weight": torch.ones(2, 3)}, "optimizer": {}}, buffer)
    return buffer.getvalue()


def resume_training(path: Path) -> None:
    """A training that goes on from the file."""
    module = torch.nn.Linear(3, 2, bias=False)
    shutil.copy(path, path.parent / "checkpoint.pt")
    TrainingState(path.parent, module, torch.optim.AdamW(module.parameters()), ema=0).load(torch.device("cpu"))


def unpack(path: Path) -> None:
    """An archive of annotations."""
    extract(Archive("a.zip", (), "instances.json", "a"), path, path.parent / "unpacked")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/instances.json", "{}")
        file.writestr("a/refs.p", "x" * 300)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 2), np.int32))
    return buffer.getvalue()


def first(pattern: str) -> bytes:
    return next(iter(sorted(TINY.rglob(pattern)))).read_bytes()


MANIFEST = Manifest("refshapes", "f" * 64, 4, 16, False, 0, 2, 3, 3, 4, 64, "0" * 64, "cpu", "2026-01-01")
OWN = {"image": "a.png", "expression": "it", "box": [0, 0, 3, 4], "split": "test", "width": 8, "height": 8}
SEVERAL = {**OWN, "boxes": [[0, 0, 3, 4], [1, 1, 8, 8]]}
del SEVERAL["box"]
NOTHING = {**SEVERAL, "boxes": []}
ROW = {"method": "center", "role": "floor", "dataset": "refshapes", "split": "test", "n": 2, "mean_iou": 0.25,
       "acc@0.5": 0.5, "acc@0.75": 0.0, "mean_iou_ci": [0.1, 0.4], "acc@0.5_ci": [0.2, 0.8], "ms_per_query": 0.5,
       "failures": 0, "by_kind": {"size": {"mean_iou": 0.25, "acc@0.5": 0.5}}}  # fmt: skip
RESULTS = {"meta": {"content": "0" * 16, "limit": None}, "rows": [ROW, {**ROW, "method": "mdetr", "role": "method"}]}
ASKED = {"key": "a", "expression": "it", "kind": "size", "image_id": "0", "box": [0, 0, 3, 4], "ious": {"center": 0.5}}
CONTENT = hashlib.sha256(b"a it [0, 0, 3, 4]").hexdigest()[:16]
PEOPLE = {"id": 0, "image_name": "a.png", "referring": "it", "domain": "x", "answer_boxes": [[0, 0, 3, 4]],
          "candidate_boxes": [[0, 0, 3, 4], [1, 1, 5, 5]]}  # fmt: skip
OWN_CSV = b'image,expression,boxes,split\na.png,it,"[[0, 0, 3, 4]]",test\na.png,it,[],test\n'
GREFS = [
    {"ref_id": k, "ann_id": ann_ids, "image_id": 1, "split": "val", "file_name": "a.jpg", "no_target": not ann_ids,
     "sentences": [{"sent_id": k, "sent": "it"}]}
    for k, ann_ids in enumerate(([5], [], [5, 6, 7]))
]  # fmt: skip
RECORDED = {"key": "a", "box": [0, 0, 10, 10], "score": 0.5}
READERS = {
    "pickle": (".p", lambda: pickle.dumps([{"a": [1, 2.5, "x"], "b": (None, True)}] * 3), load_plain_pickle),
    "refs": (".p", lambda: first("refs*.p"), parse_refs),
    "instances": (".json", lambda: first("instances.json"), parse_instances),
    "jpeg": (".jpg", lambda: jpeg("JPEG"), read_image),
    "png": (".jpg", lambda: jpeg("PNG"), read_image),
    "tiff": (".png", lambda: jpeg("TIFF"), read_image),
    "webp": (".jpg", lambda: jpeg("WEBP"), read_image),
    "agent config": (".yaml", lambda: b"seed: 1\nclone: {minutes: 2}\n", lambda p: load_config(TrainConfig, [str(p)])),
    "fit config": (".yaml", lambda: b"steps: 10\nlearning_rate: 1e-3\n", lambda p: load_config(FitConfig, [str(p)])),
    "predictions": (".jsonl", lambda: text(RECORDED) + b"\n" + text(RECORDED), lambda p: RecordedGrounder(str(p))),
    "detections": (".json", lambda: text([{"a": 1}]), recorded_detections),
    "manifest": (".json", lambda: text(asdict(MANIFEST)), open_store),
    "keys": (".npy", npy, read_keys),
    "own rows": (".jsonl", lambda: b"\n".join(text(OWN) for _ in range(2)), own_data),
    "own boxes": (".jsonl", lambda: b"\n".join(map(text, (OWN, NOTHING, SEVERAL))), own_data),
    "own csv": (".csv", lambda: OWN_CSV, own_data),
    "captions": (".json", captions, parse_finecops),
    "humanref": (".jsonl", lambda: text(PEOPLE) + b"\n" + text({**PEOPLE, "id": 1}), parse_humanref),
    "reviewed": (".json", lambda: captions().replace(b"level", b"caption_quality"), parse_reviewed),
    "grefs": (".json", lambda: text(GREFS), parse_refs),
    "checkpoint": (".pt", checkpoint, resume_training),
    "archive": (".zip", zipped, unpack),
    "csv": (".csv", lambda: b"key,x1,y1,x2,y2\na,0,0,9,9\nb,1,1,5,5\n", lambda p: RecordedGrounder(str(p))),
    "agent": (".json", lambda: (find_agent("refshapes-clip") / "agent.json").read_bytes(), build_agent),
    "results": (".json", lambda: text(RESULTS), rank),
    "queries": (".jsonl", lambda: text(ASKED), pair),
    "weights": (".json", lambda: (ASSETS / "red-refshapes" / "config.json").read_bytes(), build_weights),
}  # fmt: skip
"""What is read -> suffix of the file, a good one, and its reader."""
QUICK, LONG = 40, 400
HEAVY = ("agent", "weights")


def attack(what: str, folder: Path, examples: int, fuzzed) -> None:
    """Read many damaged files of a kind."""
    suffix, make, read = READERS[what]

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(damaged(make()))
    def try_one(content: bytes) -> None:
        path = folder / f"file{suffix}"
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
                read(path)
        except (VGGymError, WrongFile) as error:
            assert 10 < len(str(error)) < 2000

    try_one()
    fuzzed(examples)


@pytest.mark.parametrize("what", READERS)
def test_damaged_files(what, tmp_path, fuzzed):
    attack(what, tmp_path, 4 if what in HEAVY else QUICK, fuzzed)


@pytest.mark.slow
@pytest.mark.parametrize("what", READERS)
def test_many_damaged_files(what, tmp_path, fuzzed):
    attack(what, tmp_path, 40 if what in HEAVY else LONG, fuzzed)


BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from vg_gym.data.published_files import parse_finecops, parse_humanref, parse_reviewed
from vg_gym.data.safe_pickle import load_plain_pickle
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before = peak()
try:
    load_plain_pickle(sys.argv[1])
except Exception as error:
    print(type(error).__name__)
print((peak() - before) // 1024)
"""


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04Nr\xff\xff\xff\x05.",
        b"cbuiltins\nbytearray\n(I3000000000\ntR.",
        b"\x80\x04]\x94" + b"(" * 100_000 + b".",
    ],
    ids=["a memo of 1.5 GB", "a bytearray by size", "marks"],
)
def test_a_pickle_cannot_ask_for_memory(tmp_path, content):
    (tmp_path / "bomb.p").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(tmp_path / "bomb.p")], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout.split()[-1]) < 100, done.stdout


@pytest.mark.parametrize(
    "content",
    ["out: !!python/object/apply:os.system ['touch ran']", "out: ${oc.env:HOME}", "- a\n- b", "just words", "a: [",
     "a: &a [x]\n" + "\n".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]"
                                for a, b in zip("abcdefgh", "bcdefghi", strict=True))],
    ids=["tag", "interpolation", "list", "scalar", "torn", "billion laughs"],
)  # fmt: skip
def test_a_config_runs_nothing_and_reads_nothing_else(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(VGGymError):
        load_config(TrainConfig, ["c.yaml"])
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["c.yaml"]


def test_postscript_is_no_image_whatever_it_is_called(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n")
    with pytest.raises(VGGymError, match=r"cannot identify image file.*a\.jpg"):
        read_image(path)


def test_the_size_of_images_is_limited(tmp_path, monkeypatch):
    path = tmp_path / "claims.png"
    Image.new("1", (20_000, 10_000)).save(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(VGGymError, match=r"claims.png \(Image size \(200000000 pixels\) exceeds limit"):
        read_image(path)
    path.write_bytes(jpeg("PNG"))
    assert read_image(path).shape == (8, 8, 3)
    monkeypatch.setenv("VG_GYM_MAX_MEGAPIXELS", "0.00005")
    with pytest.raises(VGGymError, match=r"claims.png \(0 megapixels, more than 5e-05; VG_GYM_MAX_MEGAPIXELS"):
        read_image(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"a": 1}), b"\x80\x02]q\x00."])
@pytest.mark.parametrize(
    "load",
    [
        lambda path: grounder("mdetr", weights=path),
        lambda path: grounder("transvg", weights=path),
        lambda path: grounder("diffusion", weights=path),
        lambda path: load_clip(f"ViT-B-32:{path}"),
    ],
    ids=["mdetr", "transvg", "diffusion", "clip"],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, load):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(VGGymError, match="weights"):
        load(str(path))


def test_the_files_that_are_damaged_are_good_ones(tmp_path):
    for what, (suffix, make, read) in READERS.items():
        if what not in ("detections", "keys", "own rows", "checkpoint", "archive", "refs", "instances"):
            (tmp_path / f"good{suffix}").write_bytes(make())
            read(tmp_path / f"good{suffix}")
    about = read_about(find_agent("refshapes-clip"))
    assert about["algo"] == "ppo"


NUMBERS = (b"1e999", b"NaN", b"null", b"[]", b"true", b'""', b"9" * 40, b"9" * 5000)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:9].decode())
@pytest.mark.parametrize(
    ("what", "content"),
    [("results", ROW), ("queries", ASKED), ("predictions", {**RECORDED, "sent_id": 3, "image": "a.jpg"})],
)
def test_numbers_that_are_none(what, content, number, tmp_path):
    suffix, _, read = READERS[what]
    for name in content:
        changed = {**content, name: "@"}
        whole = {**RESULTS, "rows": [changed]} if what == "results" else changed
        path = tmp_path / f"file{suffix}"
        path.write_bytes(text(whole).replace(b'"@"', number))
        try:
            read(path)
        except VGGymError as error:
            assert str(path.parent) in str(error)


@pytest.mark.parametrize("name", [None, "algo", "width", "clip", "env", "initial_box"])
@pytest.mark.parametrize("number", [b"1e999", b"[]", b"null"], ids=lambda number: number.decode())
def test_what_an_agent_says_of_itself_is_checked(name, number, tmp_path):
    about = read_about(find_agent("refshapes-clip"))
    if name:
        (about["env"] if name == "initial_box" else about)[name] = "@"
    (tmp_path / "f.json").write_bytes(text(about if name else "@").replace(b'"@"', number))
    with pytest.raises(VGGymError, match="agent.json is damaged"):
        build_agent(tmp_path / "f.json")

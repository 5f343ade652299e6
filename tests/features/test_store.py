"""Feature stores: the same bits as without one, resumable, never mixed."""

import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch

from vg_gym.cli.entry import main
from vg_gym.data.images import ArrayImage, FileImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.features import command
from vg_gym.features.bank import FeatureBank
from vg_gym.features.extraction import begin, build
from vg_gym.features.manifest import Keys
from vg_gym.features.score_maps import num_maps, scanned_regions, score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.language.parsing import PHRASE_RULES, noun_phrases
from vg_gym.types import Query


@pytest.fixture(scope="module")
def queries():
    """Twenty-four queries of six images, not grouped by image."""
    queries = [s.query for s in RefShapes("refshapes", "val", scenes=6)]
    return queries[::2] + queries[1::2]


@pytest.fixture(scope="module")
def store(tiny_clip, queries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "whole"
    return build(folder, queries, tiny_clip, phrases=True, tokens=True, shard=4, progress=False)


@pytest.fixture
def one_thread(monkeypatch):
    """Here and in child processes: the number of threads shows in last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*-*.npy")}


def test_the_same_bits_as_without_a_store(store, tiny_clip, queries):
    clip = tiny_clip.copy()  # has encoded no texts yet
    for query in queries:
        image, text = query.image.key, query.expression
        dense = clip.encode_dense([query.image.array()])[0].astype(np.float16)
        np.testing.assert_array_equal(store.dense(image), dense)
        np.testing.assert_array_equal(store.text(text), clip.encode_text([text])[0])
        np.testing.assert_array_equal(store.tokens(text), clip.encode_tokens([text])[0])
        maps = score_maps(clip, scanned_regions(dense), [text], phrases=True)[0]
        assert maps.shape[-1] == num_maps(True) == 6 and maps.dtype == store.maps(image, text).dtype == np.float16
        np.testing.assert_array_equal(store.maps(image, text), maps)
        for phrase in filter(None, noun_phrases(text)):
            np.testing.assert_array_equal(store.text(phrase), clip.encode_text([phrase])[0])


def test_many_rows_at_once(store, queries):
    images, texts = [q.image.key for q in queries], [q.expression for q in queries]
    rows = store.map_rows(images, texts)
    np.testing.assert_array_equal(
        store.arrays["maps"][rows], [store.maps(i, t) for i, t in zip(images, texts, strict=True)]
    )
    np.testing.assert_array_equal(store.arrays["dense"][store.dense_rows(images)], [store.dense(i) for i in images])
    assert store.dense_rows(["nowhere", images[0]]).tolist() == [-1, 0]
    assert store.text_rows(["never said", texts[0]]).tolist() == [-1, 0]
    phrase = store.keys.texts[-1]  # its row is beyond the expressions
    assert phrase not in texts and store.text(phrase) is not None and store.tokens(phrase) is None
    unsaid = next(t for t in texts if t not in {q.expression for q in queries if q.image.key == images[0]})
    assert store.map_rows([images[0]] * 3 + ["nowhere"], [phrase, unsaid, "never said", texts[0]]).tolist() == [-1] * 4
    assert store.dense("nowhere") is store.text("never said") is store.tokens("never said") is None
    assert store.maps(images[0], unsaid) is None


def test_score_maps_of_nothing_are_zero(tiny_clip, queries):
    regions = scanned_regions(tiny_clip.encode_dense([queries[0].image.array()])[0].astype(np.float16))
    maps = score_maps(tiny_clip, regions, ["the largest star", ""], phrases=True)
    assert maps[0][..., :4].any() and not maps[0][..., 4:].any() and not maps[1].any()
    np.testing.assert_array_equal(maps[0][..., :2], score_maps(tiny_clip, regions, ["the largest star"], False)[0])


def test_the_announced_size_is_the_size(store, tiny_clip, queries, tmp_path):
    work = begin(tmp_path / "new", queries, tiny_clip, phrases=True, tokens=True, shard=4)
    announced = work.missing_bytes()
    assert announced == sum(map(len, shards(store.path).values()))
    values = sum(array.dtype.itemsize * np.prod(array.shape) for array in store.arrays.values())
    files = len(shards(store.path))
    assert values < announced <= values + 256 * files
    summary = work.summary()
    for said in ("6 images", "24 queries", r"dense +6 x 4 x 4 x 16 float16 +3\.39 kB", "to make", "free on the disk"):
        assert re.search(said, summary), summary


def test_a_disk_that_is_too_small(tiny_clip, queries, tmp_path, monkeypatch):
    work = begin(tmp_path / "new", queries, tiny_clip)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    with pytest.raises(VGGymError, match=r"needs [\d.]+ kB more, and 1 kB are free"):
        work.run(progress=False)
    assert not shards(tmp_path / "new")


def test_shards_of_another_size_have_the_same_rows(store, tiny_clip, queries, tmp_path):
    other = build(tmp_path / "one", queries, tiny_clip, phrases=True, tokens=True, shard=1, progress=False)
    for name, array in store.arrays.items():
        np.testing.assert_array_equal(array[:], other.arrays[name][:])


def test_only_what_is_missing_is_made(store, tiny_clip, queries, tmp_path, monkeypatch):
    folder = shutil.copytree(store.path, tmp_path / "copy")
    whole = shards(folder)
    for name in ("maps-00001.npy", "text-00000.npy"):
        (folder / name).unlink()
    damaged = folder / "tokens-00000.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(VGGymError, match="is not finished: 3 shards are missing; run again the program that makes it"):
        FeatureStore.open(folder)
    kept = (folder / "dense-00001.npy").stat().st_mtime_ns
    monkeypatch.setattr(type(tiny_clip), "encode_dense", lambda *_: pytest.fail("images are encoded anew"))
    build(folder, queries, tiny_clip, phrases=True, tokens=True, shard=4, progress=False)
    assert shards(folder) == whole and (folder / "dense-00001.npy").stat().st_mtime_ns == kept


def test_damage_is_found(store, tmp_path):
    folder = shutil.copytree(store.path, tmp_path / "copy")
    assert command.verified(folder).verify() == []
    for name in ("dense-00001.npy", "maps-00000.npy"):
        data = bytearray((folder / name).read_bytes())
        data[200] ^= 4
        (folder / name).write_bytes(data)
    with pytest.raises(VGGymError, match=r"2 damaged shards: dense-00001\.npy maps-00000\.npy; delete these files"):
        command.verified(folder)


def test_damaged_keys_and_manifests(store, tmp_path):
    folder = shutil.copytree(store.path, tmp_path / "copy")
    (folder / "texts.jsonl").write_text(json.dumps("x") + "\n")
    with pytest.raises(VGGymError, match="damaged keys .wrong checksum"):
        FeatureStore.open(folder)
    (folder / "texts.jsonl").unlink()
    with pytest.raises(VGGymError, match="damaged keys"):
        FeatureStore.open(folder)
    for text, said in (("{", "is damaged"), ("{}", "another version"), ("[1]", "another version")):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(VGGymError, match=said):
            FeatureStore.open(folder)
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(VGGymError, match="not a feature store.*vg-gym features"):
            FeatureStore.open(nothing)


def test_stores_are_never_mixed(store, tiny_clip, queries, tmp_path):
    folder = shutil.copytree(store.path, tmp_path / "copy")
    other = tiny_clip.copy()
    other.name = "another"
    other.model.visual.proj.data += 1
    with pytest.raises(VGGymError, match="has features of clip 'tiny'.*but those of 'another'"):
        FeatureStore.open(folder, other)
    assert FeatureStore.open(folder, tiny_clip).manifest.clip == "tiny"
    usual = {"phrases": True, "tokens": True, "shard": 4, "progress": False}
    for changed, said in (
        ({"clip": other}, "clip tiny .* and not of another"),
        ({"queries": queries[1:]}, "24 queries of 6 images.* and not of the 23 queries of 6 images"),
        ({"phrases": False}, "begun with phrases True, not False"),
        ({"tokens": False}, "begun with tokens 16, not 0"),
        ({"shard": 3}, "begun with shard 4, not 3"),
    ):
        with pytest.raises(VGGymError, match=said):
            build(folder, **{"queries": queries, "clip": tiny_clip, **usual, **changed})
    assert shards(folder) == shards(store.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(VGGymError, match="not empty: thesis.tex"):
        build(tmp_path / "mine", queries, tiny_clip)
    with pytest.raises(VGGymError, match="cannot write"):
        build(tmp_path / "mine" / "thesis.tex", queries, tiny_clip)
    with pytest.raises(VGGymError, match="needs queries"):
        build(tmp_path / "none", [], tiny_clip)


def test_phrases_of_an_earlier_version_are_refused(store, tiny_clip, queries, tmp_path):
    folder = shutil.copytree(store.path, tmp_path / "old")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.pop("phrase_rules") == PHRASE_RULES
    (folder / "manifest.json").write_text(json.dumps(manifest))  # as before there were versions
    old = FeatureStore.open(folder, tiny_clip)
    assert old.manifest.phrase_rules == 0
    FeatureBank(tiny_clip, tokens=True, store=old)  # what does not depend on phrases is as good as ever
    with pytest.raises(VGGymError, match="noun phrases of another version.* make a new store"):
        FeatureBank(tiny_clip, phrases=True, store=old)
    FeatureBank(tiny_clip, phrases=True, store=store)
    with pytest.raises(VGGymError, match="noun phrases of another version.* name another folder"):
        build(folder, queries, tiny_clip, phrases=True, tokens=True, shard=4, progress=False)


def test_an_image_that_cannot_be_read_is_named_and_what_is_made_is_kept(tiny_clip, queries, tmp_path):
    broken = [*queries, Query(FileImage(tmp_path / "gone.jpg"), "the star", "gone")]
    with pytest.raises(VGGymError, match=r"gone\.jpg"):
        build(tmp_path / "s", broken, tiny_clip, shard=3, progress=False)
    made = [f"{name}-0000{n}.npy" for name, count in (("dense", 2), ("maps", 2), ("text", 3)) for n in range(count)]
    assert sorted(shards(tmp_path / "s")) == made


def test_keys_may_hold_anything(tiny_clip, tmp_path):
    odd = ["two\nlines", "next\u2028line", 'quo"te', "\ud800", "", "Größe \U0001f600"]
    pixels = np.zeros((8, 8, 3), np.uint8)
    queries = [Query(ArrayImage(pixels, key), text, "") for key in odd for text in odd]
    store = build(tmp_path / "s", [*queries, queries[0]], tiny_clip.copy(), progress=False)
    again = FeatureStore.open(store.path)
    assert again.keys.images == again.keys.texts == odd and again.manifest.queries == len(odd) ** 2
    assert again.dense_rows(odd).tolist() == list(range(len(odd)))
    images, texts = zip(*[(q.image.key, q.expression) for q in queries], strict=True)
    assert again.map_rows(images, texts).tolist() == list(range(len(odd) ** 2))


def test_the_keys_are_in_order_of_appearance(queries):
    keys, _ = Keys.of(queries, phrases=True)
    assert keys.images == list(dict.fromkeys(q.image.key for q in queries))
    expressions = list(dict.fromkeys(q.expression for q in queries))
    assert keys.texts[: len(expressions)] == expressions and len(set(keys.texts)) == len(keys.texts)
    assert set(keys.texts[len(expressions) :]) <= {part for e in expressions for part in noun_phrases(e)}


def _read(store, image, expected, results):
    results.put(bool(np.array_equal(store.dense(image), expected)))


def test_a_store_goes_to_other_processes(store, queries):
    context = multiprocessing.get_context("spawn")
    results, image = context.Queue(), queries[0].image.key
    process = context.Process(target=_read, args=(store, image, np.array(store.dense(image)), results))
    process.start()
    assert results.get(timeout=60)
    process.join()


ARGUMENTS = [
    "features", "--dataset", "refshapes", "--splits", "val,test", "--limit", "6", "--shard", "2", "--phrases",
    "--device", "cpu", "--out",
]  # fmt: skip
KILLED = """
import os, signal, sys
from vg_gym.cli.entry import main
from vg_gym.storage.shards import ShardedArray

write = ShardedArray.write

def write_and_die(array, number, rows):
    write(array, number, rows)
    if (array.name, number) == ("dense", 2):
        os.kill(os.getpid(), signal.SIGKILL)

ShardedArray.write = write_and_die
main(sys.argv[1:])
"""
"""``vg-gym``, killed at the worst moment: dense features of a shard are there, its score maps are not."""


def test_a_killed_build_goes_on_where_it_was(tmp_path, one_thread, capsys):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.run([sys.executable, "-c", KILLED, *ARGUMENTS, str(killed)], capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    with pytest.raises(VGGymError, match="7 shards are missing; finish it with `vg-gym features .*--out"):
        FeatureStore.open(killed)
    before = {path.name: path.stat().st_mtime_ns for path in killed.glob("*-*.npy")}
    made = {"dense-00000.npy", "dense-00001.npy", "dense-00002.npy", "maps-00000.npy", "maps-00001.npy"}
    assert {name for name in before if not name.startswith("text-")} == made
    main([*ARGUMENTS, str(killed)])
    output = capsys.readouterr().out
    assert f"train_agent.py features={killed}" in output and "12 images" in output
    after = {path.name: path.stat().st_mtime_ns for path in killed.glob("*-*.npy")}
    assert before.items() <= after.items()
    main([*ARGUMENTS, str(whole)])
    assert shards(killed) == shards(whole) and len(list(whole.glob("dense-*.npy"))) == 6
    assert not list(whole.glob("*.part"))

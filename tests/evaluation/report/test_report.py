import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.rows import lines, row
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.evaluation.report import report
from vg_gym.evaluation.report.gallery import (
    CASES,
    CASES_OF_A_KIND,
    SAMPLES,
    Thumbnails,
    evenly_spaced,
    pick_cases,
    pictured,
)
from vg_gym.evaluation.report.plots import scatter
from vg_gym.evaluation.report.report import COLORS, write_report
from vg_gym.types import Query

META = {"dataset": "refshapes", "split": "test", "command": "python evaluate.py", "date": "", "versions": {}}
BOX = [1.0, 1.0, 50.0, 60.0]


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


@pytest.fixture
def rows(samples):
    gain = {"mean": 0.25, "ci": [0.1, 0.4]}
    both = {"refined_by": gain, "refined_by_acc@0.5": gain}
    return [
        row("full", "floor", [0.1] * 8, samples),
        row("<b>mine</b>", "method", np.linspace(0.2, 0.6, 8), samples),
        row("mine + agent", "refined", np.linspace(0.5, 0.8, 8), samples, refines="<b>mine</b>", **both),
    ]


def written(out, rows, samples, given, meta=META):
    """The page, and the data in it."""
    write_report(out, rows, samples, given, meta)
    page = (out / "report.html").read_text()
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return page, json.loads(data)


def all_lines(rows, trajectory=None):
    return {one["method"]: lines([BOX] * 7 + [None], trajectory) for one in rows}


def test_the_page_has_all_rows_and_needs_nothing_else(rows, samples, tmp_path):
    page, data = written(tmp_path, rows, samples, all_lines(rows))
    assert "&lt;b&gt;mine&lt;/b&gt;" in page and "<b>mine" not in page
    assert [one["method"] for one in data["rows"]] == ["full", "<b>mine</b>", "mine + agent"]
    assert data["shown"] == [1, 2]  # floors are not drawn
    assert page.count("<polyline") == 2 and f'stroke="{COLORS[1]}"' in page
    assert page.count('aria-label="mean IoU and Acc@0.5 of ') == 4 and page.count(" by cell") >= 2
    assert "Before and after refinement" in page and "+0.250" in page
    assert not re.search(r"""(src|href)=["']?(http|/)""", page) and 'name="viewport"' in page
    with Image.open(tmp_path / "refined.png") as drawn:
        assert drawn.size == scatter(rows).size


def test_figures_near_zero_have_no_sign_and_versions_are_words(rows, samples, tmp_path):
    near = [{**one, "centre_slope": -1e-9, "prior_gap": -1e-9} for one in rows]
    page, _ = written(tmp_path, near, samples, all_lines(rows), {**META, "versions": {"python": "3.12", "torch": "2"}})
    assert "<td>0.00</td>\n<td>+0.000</td>" in page and "-0.00" not in page
    assert "\npython 3.12, torch 2</pre>" in page


def test_pictures_have_the_truth_every_box_and_the_path(rows, samples, tmp_path):
    path = [[0, 0, 128, 128], [0, 0, 128, 128], [1, 1, 60, 60], BOX]
    _, data = written(tmp_path, rows, samples, all_lines(rows, path))
    assert data["samples"] == list(range(8)) and len(data["images"]) == 2  # two scenes: each is there once
    for i, sample in enumerate(samples):
        query = data["queries"][str(i)]
        np.testing.assert_allclose(query["truth"], sample.boxes, atol=0.06)
        assert query["text"] == sample.query.expression and query["image"] in data["images"]
        assert query["boxes"] == [[BOX] if i < 7 else None] * 2
        assert query["paths"] == [[path[0], path[2], path[3]]] * 2  # a step that changes nothing is none
    assert data["queries"]["7"]["why"] == ["none", "none"] and data["sizes"] == dict.fromkeys(
        data["images"], [128, 128]
    )
    assert data["cases"][0]["worst"][""][0] == 0 and data["rows"][1]["figures"][""]["iou"] == pytest.approx(0.4)


def test_pairs_are_of_every_two_methods(rows, samples, tmp_path):
    _, data = written(tmp_path, rows, samples, all_lines(rows))
    [pair] = data["pairs"].values()
    assert [part[0] for part in pair] == ["", "attribute", "location", "relation", "size"]
    kind, n, gain, ci, acc, acc_ci, only_a, only_b = pair[0]
    assert (kind, n, only_a) == ("", 8, 0) and gain == pytest.approx(0.25)
    assert ci is None and acc_ci is None  # two images are too few
    assert acc == only_b / 8 and len(data["points"]) == 8


def test_without_refined_rows_there_is_no_scatter(rows, samples, tmp_path):
    page, data = written(tmp_path, rows[:1], samples, all_lines(rows))
    assert not (tmp_path / "refined.png").exists()
    assert "Before and after" not in page and page.count("<polyline") == 1  # floors alone are drawn
    assert not data["pairs"] and "Two methods" not in page
    with pytest.raises(ValueError, match="no refined row"):
        scatter(rows[:1])


def test_only_our_own_scripts_run(rows, samples, tmp_path):
    hostile = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
    asked = [replace(s, kind=hostile, query=Query(s.query.image, hostile, s.query.key)) for s in samples]
    page, data = written(tmp_path, [row(hostile, "method", [0.5] * 8, asked)], asked, {hostile: lines([BOX] * 8)},
                         {**META, "command": hostile})  # fmt: skip
    assert "<script>document" not in page and "<img src=x" not in page
    assert data["queries"]["0"]["text"] == data["rows"][0]["method"] == data["kinds"][0] == hostile
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert "default-src &#39;none&#39;" in policy and policy.partition("script-src")[2].count("sha256-") == 2


def photographs(samples, count, side=640):
    """As many samples, each on a large image of noise, which compresses badly."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    images = [ArrayImage(np.roll(noise, i, axis=1), f"noise/{i}") for i in range(count)]
    return [replace(samples[0], query=Query(image, "it", f"{i}"), image_id=i) for i, image in enumerate(images)]


def test_the_page_stays_small(samples, tmp_path):
    many = photographs(samples, 60)
    rows = [row(f"m{i}", "method", np.roll(np.linspace(0, 1, 60), 7 * i), many) for i in range(4)]
    page, data = written(tmp_path, rows, many, {one["method"]: lines([BOX] * 60) for one in rows})
    assert 0.4 * report.MAX_PAGE_BYTES < len(page.encode()) < report.MAX_PAGE_BYTES and not data["lost"]
    assert set(map(tuple, data["sizes"].values())) == {(640, 640)}  # boxes are in pixels of the whole image
    for uri in data["images"].values():
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as small:
            assert 112 <= max(small.size) < 320


def test_pictures_that_never_fit_are_left_out_and_said_to_be(samples):
    thumbnails = Thumbnails(photographs(samples, 3))
    assert len(thumbnails.uris(10**7)) == 3 and not thumbnails.lost
    assert not Thumbnails(photographs(samples, 3)).uris(0)
    kept = thumbnails.uris(6_000)
    assert list(kept) == ["noise/0"] and len(kept["noise/0"]) <= 6_000
    assert thumbnails.lost.keys() == {"noise/1", "noise/2"} and "keep this page small" in thumbnails.lost["noise/1"]


def test_an_image_that_cannot_be_read_is_named(samples):
    class Broken:
        key = "broken"
        size = (9, 9)

        def array(self):
            raise OSError("gone")

    broken = replace(samples[0], query=Query(Broken(), "it", "0"))
    thumbnails = Thumbnails([broken, samples[1]])
    assert thumbnails.lost == {"broken": "OSError: gone"} and list(thumbnails.uris(10**6)) == [
        samples[1].query.image.key
    ]


def test_cases_are_the_worst_and_those_nearest_to_the_median():
    ious = np.array([0.9, 0.1, 0.5, 0.0, 0.52, 0.48, 0.95, 0.7, 0.2, 0.3])
    cases = pick_cases(ious, ["a", "b"] * 5, range(10))
    assert cases["worst"][""] == [3, 1, 8, 9, 5, 2][:CASES] and cases["typical"][""][:3] == [2, 5, 4]
    assert cases["worst"]["a"] == [8, 2, 4][:CASES_OF_A_KIND] and cases["worst"]["b"] == [3, 1, 9]
    assert pick_cases(ious, [""] * 10, [0] * 9 + [1])["worst"][""][:3] == [3, 9, 1]  # another image goes first
    assert pick_cases(ious, [""] * 10, range(10)).keys() == {"worst", "typical"}


def test_what_is_no_path_is_left_out(samples):
    line = {"box": BOX, "trajectory": [[0, 0, 9, 9], [1, 2], [0, float("nan"), 1, 1], BOX]}
    assert pictured(samples[0], [line], [0.5])["paths"] == [[[0, 0, 9, 9], BOX]]


def test_samples_are_evenly_spaced():
    assert evenly_spaced(100, SAMPLES)[:3] == [0, 8, 16] and len(evenly_spaced(100, SAMPLES)) == SAMPLES


def test_sets_are_drawn_with_all_their_boxes(tmp_path):
    samples = list(RefShapes("refshapes-any", "test", scenes=12))
    counts = np.array([len(sample.boxes) for sample in samples])
    f1, ious = (counts != 1).astype(float), np.where(counts == 1, 0.75, np.nan)
    single = row("mine", "method", ious[counts == 1])
    figures = dict.fromkeys(("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1"), 0.5)
    intervals = {f"{name}_ci": None for name in figures}
    by_kind = {
        kind: {"mean_iou": None if kind in ("none", "many") else 0.75, "acc@0.5": 1.0, "set_f1": 1.0, "pr@f1": 1.0}
        for kind in {sample.kind for sample in samples}
    }
    mine = {**single, **figures, **intervals, "auroc": None, "n": len(samples), "by_kind": by_kind,
            "ious": ious.tolist(), "f1": f1.tolist(), "nothing_below": {"value": 0.5}}  # fmt: skip
    answers = [
        {"key": str(i), "box": None if not count else BOX, **({} if count == 1 else {"boxes": [BOX] * int(count)})}
        for i, count in enumerate(counts)
    ]
    page, data = written(tmp_path, [mine], samples, {"mine": answers})
    shown = [data["queries"][str(index)] for index in data["samples"]]
    assert {"none", "many"} <= {query["kind"] for query in shown}
    for index, query in data["queries"].items():
        assert len(query["truth"]) == len(query["boxes"][0]) == counts[int(index)]
        assert query["ious"] == [0.75 if counts[int(index)] == 1 else None] and len(query["f1"]) == 1
    assert data["rows"][0]["figures"]["none"] == {"n": 12, "iou": None, "set_f1": 1, "pr@f1": 1} | {
        f"acc{threshold}": None for threshold in (0.25, 0.5, 0.75, 0.9)
    }
    assert len(data["points"]) == (counts == 1).sum() and not data["pairs"]
    assert 'aria-label="set F1 and Pr@F1 of none by method"' in page and "<h2>Thresholds</h2>" in page

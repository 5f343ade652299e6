"""``api:MODEL`` against a server on loopback that sees the pictures, answers nonsense, fails, or is busy."""

import base64
import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.chat_server import completion, refusal, serving
from vg_gym import registry
from vg_gym.baselines.foundation.api import family_of
from vg_gym.cli.entry import main
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.frames import say
from vg_gym.language_models import chat_api
from vg_gym.types import Query

MODEL = "api:Qwen/Qwen3-VL-8B-Instruct"
SECRET = "sk-0123456789abcdef"
LIMIT = 8


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(chat_api, "FIRST_WAIT_S", 0.001)
    monkeypatch.delenv(chat_api.KEY, raising=False)


def picture_of(body):
    url = body["messages"][-1]["content"][0]["image_url"]["url"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))


def text_of(body):
    return body["messages"][-1]["content"][1]["text"]


def sees_everything(body):
    """Answer of a model that knows every box: it looks the picture and the words up."""
    picture, text = hashlib.sha256(picture_of(body).tobytes()).digest(), text_of(body)
    for sample in RefShapes("refshapes", "test", scenes=LIMIT // 4):
        same = hashlib.sha256(sample.query.image.array().tobytes()).digest() == picture
        if same and f'"{sample.query.expression}"' in text:
            box = say(sample.box, "0-1000", sample.query.image.size)
            return completion(f'```json\n[{{"bbox_2d": {box}, "label": "it"}}]\n```', 300, 20)
    raise AssertionError("neither this picture nor these words are of the data set")


def compare(out, base, **changes):
    given = {
        "methods": [MODEL], "out": str(out), "dataset": "refshapes", "clip": "none", "limit": LIMIT, "api_base": base,
        "options": {"constant": {"box": (0.2, 0.2, 0.8, 0.8)}},
    }  # fmt: skip
    return {row["method"]: row for row in Comparison(**given | changes).run()}


def query(width=80, height=40, expression="the cup"):
    return Query(ArrayImage(np.zeros((height, width, 3), np.uint8)), expression, f"{width} {expression}")


def test_a_right_server_is_right_and_its_key_stays_secret(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(chat_api.KEY, SECRET)
    with serving(sees_everything) as stub:
        row = compare(tmp_path / "out", stub.base, api_concurrency=3)[MODEL]
    assert row["mean_iou"] > 0.95 and row["acc@0.5"] == 1 and row["failures"] == row["unparsed"] == 0
    assert (row["prompt_tokens"], row["completion_tokens"]) == (300, 20) and row["seconds"] > 0
    assert 1 < stub.most_active <= 3 and stub.keys == [f"Bearer {SECRET}"] * LIMIT
    printed = capsys.readouterr()
    assert all(title in printed.out for title in ("unparsed", "tokens in", "tokens out"))
    assert SECRET not in printed.out + printed.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in files if "api-answers" in path.parts]) == LIMIT
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_run_that_starts_again_repeats_no_question(tmp_path, capsys):
    with serving(sees_everything) as stub:
        first = compare(tmp_path / "a", stub.base)[MODEL]
        again = compare(tmp_path / "a", stub.base)[MODEL]
        assert again["reused"] == LIMIT and len(stub.requests) == LIMIT
        other = compare(tmp_path / "b", stub.base)[MODEL]  # another folder: the cache of answers serves it
        assert len(stub.requests) == LIMIT and other["seconds"] == first["seconds"]
        options = {"constant": {"box": (0, 0, 1, 1)}, "api": {"temperature": 0.5}}
        compare(tmp_path / "b", stub.base, options=options)
        assert len(stub.requests) == 2 * LIMIT and "options changed" in capsys.readouterr().err.replace(",", "")
        compare(tmp_path / "c", stub.base, options={"api": {"cache": False}, "constant": {"box": (0, 0, 1, 1)}})
        assert len(stub.requests) == 3 * LIMIT


def test_numbers_of_threads_discard_no_predictions(tmp_path):
    with serving(sees_everything) as stub:
        compare(tmp_path, stub.base)
        assert compare(tmp_path, stub.base, api_concurrency=1)[MODEL]["reused"] == LIMIT


def test_a_killed_run_goes_on_with_what_was_answered(tmp_path):
    answered = []

    def dies(body):
        answered.append(body)
        return sees_everything(body) if len(answered) <= 3 else refusal(400, "shut down")

    with serving(dies) as stub:
        grounder = registry.grounder(MODEL, base=stub.base, concurrency=1)
        samples = list(RefShapes("refshapes", "test", scenes=1))
        queries = [sample.query for sample in samples]
        assert ["failure" in p.details for p in grounder.ground(queries)] == [False] * 3 + [True]
        stub.answer = sees_everything
        stub.requests.clear()
        predictions = grounder.ground(queries)
    assert len(stub.requests) == 1 and not any("failure" in p.details for p in predictions)


NONSENSE = ["I see no cup.", "", "[1, 2]", "[2000, 2000, 3000, 3000]", "<think>[1, 2, 300, 400]", None, '{"box": 7}']


@pytest.mark.filterwarnings("ignore:.*likely wrong")
def test_nonsense_is_counted_as_unparsed_and_scores_0(tmp_path):
    answers = iter(NONSENSE * 2)
    with serving(lambda body: completion(next(answers))) as stub:
        rows = compare(tmp_path, stub.base, api_concurrency=1)
    row = rows[MODEL]
    assert (row["unparsed"], row["failures"], row["mean_iou"], row["n"]) == (LIMIT, LIMIT, 0, LIMIT)
    assert "unparsed" not in rows["center"] and not rows[MODEL]["acc@0.25"]


def test_a_server_that_fails_for_some_queries_costs_only_these(tmp_path):
    def partly(body):
        return refusal(500) if "shape" in text_of(body) else sees_everything(body)

    failing = [s for s in RefShapes("refshapes", "test", scenes=LIMIT // 4) if "shape" in s.query.expression]
    assert 0 < len(failing) < LIMIT
    with serving(partly) as stub:
        row = compare(tmp_path, stub.base, options={"api": {"retries": 1}, "constant": {"box": (0, 0, 1, 1)}})[MODEL]
        assert (row["failures"], row["unparsed"], row["n"]) == (len(failing), 0, LIMIT)
        assert row["acc@0.5"] == 1 - len(failing) / LIMIT
        stub.answer = sees_everything
        again = compare(tmp_path, stub.base, retry_failures=True)[MODEL]
    assert again["failures"] == 0 and again["acc@0.5"] == 1


def test_a_server_that_refuses_everything_ends_the_run_with_its_reason(tmp_path):
    with serving(lambda body: refusal(401, "wrong key")) as stub:
        with pytest.raises(VGGymError, match="first batch: http.* refuses, status 401: wrong key; .* VG_GYM_API_KEY"):
            compare(tmp_path, stub.base)


def test_the_request_has_the_options(tmp_path):
    with serving(lambda body: completion("[0, 0, 500, 500]")) as stub:
        body = {"seed": 7, "temperature": None, "chat_template_kwargs": {"enable_thinking": False}}
        grounder = registry.grounder(
            "api:any", base=stub.base, prompt="Find {}.", frame="0-1000", system="You see boxes.", body=body
        )
        (prediction,) = grounder.ground([query()])
    assert prediction.box.tolist() == [0, 0, 40, 20]
    (sent,) = stub.requests
    assert sent["messages"][0] == {"role": "system", "content": "You see boxes."} and text_of(sent) == "Find the cup."
    assert {key: value for key, value in sent.items() if key != "messages"} == {
        "model": "any", "max_tokens": 512, "seed": 7, "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert picture_of(sent).shape == (40, 80, 3)


def test_boxes_in_pixels_of_a_resized_image_are_those_of_the_image_that_is_sent():
    pytest.importorskip("transformers")

    def halves(body):
        height, width = picture_of(body).shape[:2]
        assert not (height % 28 or width % 28) and height * width <= 100_000
        return completion(json.dumps({"bbox_2d": [0, 0, width / 2, height / 2]}))

    with serving(halves) as stub:
        grounder = registry.grounder("api:Qwen2.5-VL-7B", base=stub.base, max_pixels=100_000)
        boxes = [p.box.tolist() for p in grounder.ground([query(80, 40), query(1001, 333)])]
    assert boxes == [[0, 0, 40, 20], pytest.approx([0, 0, 500.5, 166.5])]


def test_an_initial_box_is_drawn_on_the_picture():
    with serving(lambda body: completion("[0, 0, 500, 500]")) as stub:
        registry.grounder(MODEL, base=stub.base).ground([query()], np.array([[10, 10, 30, 30]], np.float32))
    red = (picture_of(stub.requests[0]) == (255, 0, 0)).all(axis=-1)
    assert red[10, 10:30].all() and red[10:30, 29].all() and not red[12:28, 12:28].any()
    assert "red rectangle" in text_of(stub.requests[0])


def test_asked_again_it_sees_its_own_box(tmp_path):
    """A model that is wrong at first and right once it sees its red box, and then forgets."""

    def by_turn(body):
        red = (picture_of(body) == (255, 0, 0)).all(axis=-1)
        if "red rectangle" not in text_of(body):
            return completion("[0, 0, 100, 100]")
        assert red.any()
        return completion("[0, 0, 990, 990]")

    with serving(by_turn) as stub:
        rows = compare(tmp_path, stub.base, iterate=2)
    assert [name for name in rows if name.startswith("api")] == [MODEL, f"{MODEL} turn 2", f"{MODEL} turn 3"]
    assert rows[f"{MODEL} turn 2"]["mean_iou"] != rows[MODEL]["mean_iou"] and len(stub.requests) >= 2 * LIMIT


def test_the_family_is_in_the_name_or_is_given():
    assert family_of("Qwen/Qwen2.5-VL-7B-Instruct").frame == "resized"
    assert family_of("qwen3-vl-30b-a3b").frame == family_of("OpenGVLab/InternVL3_5-8B").frame == "0-1000"
    assert family_of("my-model", "qwen3_vl").frame == "0-1000"
    with pytest.raises(VGGymError, match="the family of 'my-model' is not known.*api.family="):
        family_of("my-model")
    with pytest.raises(VGGymError, match="unknown family of models behind a server 'florence2'"):
        family_of("my-model", "florence2")


def test_errors_come_before_the_first_question(monkeypatch):
    with pytest.raises(VGGymError, match="is not http"):
        registry.grounder(MODEL)
    with pytest.raises(VGGymError, match="needs the name of a model"):
        registry.grounder("api", base="http://localhost:1/v1")
    with pytest.raises(VGGymError, match="unknown option of api 'key'"):
        registry.grounder(MODEL, base="http://localhost:1/v1", key="x")
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(VGGymError, match=r'needs httpx: pip install "vg_gym\[api\]"'):
        registry.grounder(MODEL, base="http://localhost:1/v1")


def test_ground_asks_a_server(tmp_path, capsys, monkeypatch):
    picture = tmp_path / "scene.png"
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(picture)
    arguments = ["ground", str(picture), "the cup", "--method", MODEL, "--json", "--api-base"]
    with serving(lambda body: completion("[0, 0, 500, 500]")) as stub:
        main([*arguments, stub.base])
    assert json.loads(capsys.readouterr().out)["box"] == [0, 0, 40, 20]


def test_only_this_room_knows_the_server():
    """The evaluator has no word of servers but the two flags."""
    assert "chat_api" not in (Path(__file__).parents[2] / "vg_gym/evaluation/comparison.py").read_text()

"""Local work and work on a real Ray of two processes: the same results, and errors that say what they are."""

import json
import sys
from contextlib import closing
from functools import partial

import pytest
import torch

from tests.data.own import rows, write_images, write_rows
from vg_gym import registry
from vg_gym.cli.entry import main
from vg_gym.clip.finetuning.model import save_model
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.methods import method_options
from vg_gym.runtime.runners import LocalRunner, make_runner

from . import workers

ray = pytest.importorskip("ray")


@pytest.fixture(autouse=True)
def one_thread():
    """Workers compute with the threads of this process, and 2 x 2 threads on two CPUs wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


squares = partial(workers.squaring, 1)


def test_the_local_runner_builds_once_and_keeps_the_order():
    built = []

    def factory():
        built.append(1)
        return lambda item: -item

    runner = make_runner()
    assert list(runner.map(factory, [])) == [] and not built
    assert list(runner.map(factory, [3, 1, 2])) == [(0, -3), (1, -1), (2, -2)] and built == [1]


def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(VGGymError, match="refused.*correct RAY_ADDRESS"):
        list(make_runner("ray", 1).map(squares, [3]))
    assert not ray.is_initialized()


def test_a_runner_starts_ray_and_the_last_one_ends_it(monkeypatch):
    monkeypatch.setattr("vg_gym.runtime.runners.ray.START_WARNING_S", 300)  # a busy machine starts Ray in a minute
    with closing(make_runner("ray", 1)) as first, closing(make_runner("ray", 1)) as second:
        assert list(first.map(squares, [])) == [] and not ray.is_initialized()
        assert list(first.map(squares, [3])) == list(second.map(squares, [3])) == [(0, 10)]
        first.close()
        assert list(second.map(squares, [4])) == [(0, 17)]
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def cluster():
    """The user's own Ray, which runners use and leave alone; two open runners of two workers fit."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    assert ray.is_initialized()
    ray.shutdown()


@pytest.fixture(scope="module")
def runner(cluster):
    runner = make_runner("ray", 2)
    yield runner
    runner.close()


def test_every_item_once_whoever_does_it(runner):
    items = list(range(50))
    assert sorted(runner.map(squares, items)) == list(LocalRunner().map(squares, items))
    assert sorted(runner.map(partial(workers.squaring, 5), items))[2] == (2, 9)


def test_a_caller_may_stop_and_go_on(runner):
    for _ in runner.map(squares, list(range(50))):
        break
    assert sorted(runner.map(squares, [1, 2])) == [(0, 2), (1, 5)]


def test_errors_of_workers_are_what_they_are(runner):
    with pytest.raises(VGGymError, match="^no such thing$") as caught:
        list(runner.map(squares, [1, VGGymError("no such thing"), 2]))
    assert type(caught.value) is VGGymError and caught.value.__suppress_context__
    with pytest.raises(ZeroDivisionError) as wrong:
        list(runner.map(squares, [ZeroDivisionError()]))
    assert type(wrong.value) is ZeroDivisionError and "in work" in str(wrong.value.__cause__)
    with pytest.raises(VGGymError, match="unknown runner 'rya': did you mean 'ray'"):
        make_runner("rya")


def test_a_worker_that_died_is_replaced_and_in_the_end_given_up(cluster, monkeypatch, tmp_path):
    monkeypatch.setattr("vg_gym.runtime.runners.ray.RETRIES", 1)
    with closing(make_runner("ray", 1)) as runner:
        assert sorted(runner.map(squares, [1, str(tmp_path / "once"), 2]))[::2] == [(0, 2), (2, 5)]
        with pytest.raises(VGGymError, match="died 2 times"):
            list(runner.map(squares, ["always"]))


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "vg_gym.runtime.runners.ray", raising=False)
    with pytest.raises(VGGymError, match=r"the ray runner needs Ray: pip install \"vg_gym\[ray\]\""):
        make_runner("ray")


@pytest.fixture
def moody(monkeypatch):
    """Registered in this process only: workers learn of it from the factory."""
    monkeypatch.setitem(registry.GROUNDERS, "moody", registry.GrounderSpec(f"{workers.__name__}:Moody"))


def compare(out, runner, **changes):
    given = {"methods": ["moody", "action-oracle"], "options": method_options(["moody.side=10,20"]),
             "refine": "moody,no-op", "probes": True, "limit": 150, "clip": "none"}  # fmt: skip
    Comparison(dataset="refshapes", out=str(out), runner=runner, workers=2, **given | changes).run()
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    found = {(line["method"], line["key"]): {**line, "ms": 0} for line in lines}
    assert len(found) == len(lines)
    saved = json.loads((out / "results.json").read_text())
    return found, [{**row, "ms_per_query": 0, "reused": 0} for row in saved["rows"]], {**saved["meta"], "date": ""}


def test_predictions_do_not_depend_on_the_runner(cluster, moody, tiny_clip, tmp_path):
    save_model(tiny_clip, tmp_path / "clip")
    given = {"methods": ["moody", "clip-window", "action-oracle"], "clip": str(tmp_path / "clip"), "limit": 80}
    local, remote = (compare(tmp_path / name, name, **given) for name in ("local", "ray"))
    assert local == remote
    assert sum("ZeroDivisionError" in line.get("failure", "") for line in remote[0].values()) > 0
    assert not any("answer" in line.get("failure", "") for line in remote[0].values())


@pytest.mark.slow
def test_features_do_not_depend_on_the_runner(cluster, tiny_clip, tmp_path):
    """Of a file of one's own, some of whose images share a shard; all files but the manifest, which has the time."""
    save_model(tiny_clip, tmp_path / "clip")
    write_images(tmp_path / "images", 3)
    data = write_rows(tmp_path / "own.jsonl", rows(40))
    made = []
    for runner in ("local", "ray"):
        out = tmp_path / runner
        main(["features", "--dataset", str(data), "--clip", str(tmp_path / "clip"), "--out", str(out), "--phrases",
              "--tokens", "--shard", "2", "--splits", "all", "--runner", runner, "--workers", "2"])  # fmt: skip
        made.append({path.name: path.read_bytes() for path in out.iterdir() if path.name != "manifest.json"})
    assert made[0] == made[1] and sum(name.startswith("dense-") for name in made[0]) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*transformers.*:FutureWarning")
def test_models_of_transformers_answer_in_workers(cluster, moody, tmp_path):
    """An open-vocabulary detector and a vision-language model, whose answers travel in the details."""
    pytest.importorskip("transformers", reason='needs pip install "vg_gym[foundation]"')
    from experiments import tiny_models

    owlv2, vlm = tiny_models.owlv2(tmp_path / "owlv2"), f"vlm:{tiny_models.qwen(tmp_path / 'qwen')}"
    options = [f"owlv2.weights={owlv2}", "owlv2.device=cpu", "vlm.device=cpu", "vlm.max_new_tokens=4"]
    given = {"methods": ["owlv2", vlm], "options": method_options(options), "refine": "", "probes": False, "limit": 8}
    (local, *rest), (remote, *others) = (compare(tmp_path / name, name, **given) for name in ("local", "ray"))
    assert rest[0] == others[0] and local.keys() == remote.keys()
    for key, line in local.items():
        assert remote[key]["box"] == pytest.approx(line["box"], abs=1e-3)
        assert remote[key].get("answer") == line.get("answer") and remote[key].get("failure") == line.get("failure")
    assert sum("answer" in line for line in remote.values()) == 8


@pytest.mark.slow
def test_a_run_goes_on_with_another_runner(cluster, moody, tmp_path):
    whole = compare(tmp_path, "local")
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "predictions.jsonl").write_text("".join(lines[64:700] + lines[764:]))  # two batches are gone
    assert compare(tmp_path, "ray") == whole


def test_a_mistake_in_a_worker_is_one_line(cluster, moody, tmp_path):
    with pytest.raises(VGGymError, match="center takes no initial boxes"):
        compare(tmp_path, "ray", refine="center", limit=8, probes=False)
    with pytest.raises(VGGymError, match="unknown option of moody 'sied': did you mean 'side'"):
        compare(tmp_path, "ray", options=method_options(["moody.sied=3"]), fresh=True)

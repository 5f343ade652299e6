import pytest

from tests.evaluation.runs import change, write_run
from vg_gym.errors import VGGymError
from vg_gym.evaluation.results import check_one_setup, read_results


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


@pytest.fixture
def run(tmp_path, samples):
    return write_run(tmp_path / "run", samples, mine=[0.5] * 8)


def test_what_is_written_is_read(run):
    results = read_results(run)
    assert results.setup[:3] == ("refshapes", "test", None) and results.title == "refshapes/test, 8 expressions"
    assert results.methods() == ["mine"] and results.methods(floors=True) == ["full", "mine"]
    assert results.row("mine")["mean_iou"] == 0.5 and read_results(run.parent).path == run
    assert results.queries().values("mine").tolist() == [0.5] * 8
    with pytest.raises(VGGymError, match="has no method 'yours', but full, mine"):
        results.row("yours")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nan", '{"meta": {"content": "x"}, "rows": []}', "[" * 100_000, '{"meta": 1, "rows": [1]}']
)
def test_what_is_no_results_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(VGGymError, match="results.json is not results of this evaluator"):
        read_results(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VGGymError, match="results.json does not exist: name a results.json, or a folder"):
        read_results(tmp_path)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "results.json").write_text("{}")
    with pytest.raises(VGGymError, match=r"results.json does not exist: did you mean \S+/test\?"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda row: row.update({"mean_iou": 1.5}),
        lambda row: row.update({"acc@0.5": float("nan")}),
        lambda row: row.update({"mean_iou_ci": 3}),
        lambda row: row.update({"role": " "}),
        lambda row: row.update({"by_kind": {"size": {}}}),
        lambda row: row.update({"method": "mine"}),
        lambda row: row.pop("n"),
    ],
)
def test_figures_that_cannot_be_are_refused(run, edit):
    change(run, lambda content: edit(content["rows"][0]))
    with pytest.raises(VGGymError, match="is not results of this evaluator"):
        read_results(run)


def test_a_limit_is_a_number(run):
    change(run, lambda content: content["meta"].update(limit=[4]))
    with pytest.raises(VGGymError, match="is not results of this evaluator"):
        read_results(run)


def test_names_cannot_move_the_cursor(run):
    change(run, lambda content: content["rows"][1].update(method="a\x1b[2J\nb"))
    assert read_results(run).methods() == ["a?[2J?b"]


def test_other_queries_are_refused_by_name(tmp_path, samples):
    runs = [write_run(tmp_path / name, samples, mine=[0.5] * 8) for name in ("a", "b", "c")]
    check_one_setup([read_results(run) for run in runs])
    other = write_run(tmp_path / "other", samples[:4], limit=4, mine=[0.5] * 4)
    with pytest.raises(VGGymError) as refused:
        check_one_setup([read_results(run) for run in (other, *runs)])
    said = str(refused.value)
    assert said.startswith("not the same queries, so not comparable: ") and said.count("results.json") == 1
    assert f"{other} has limit 4 where 3 others have none, content hash" in said and "\n" not in said
    change(runs[0], lambda content: [row.update(split="val") for row in content["rows"]])
    with pytest.raises(VGGymError, match=f"{runs[1]} has split test where {runs[0]} has val"):
        check_one_setup([read_results(run) for run in runs[:2]])


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda path: path.unlink(), "is missing, which is needed to pair methods: run the evaluation into"),
        (lambda path: path.write_text("{"), "is damaged"),
        (lambda path: path.write_text(path.read_text().replace('"kind"', '"kinds"')), "is damaged"),
        (
            lambda path: path.write_text("".join(path.read_text().splitlines(True)[1:])),
            "does not belong to the results beside it",
        ),
        (lambda path: path.write_text(path.read_text().replace('"mine"', '"yours"', 1)), "lacks IoUs of mine"),
        (lambda path: path.write_text(path.read_text().replace("0.5", "7.5", 1)), "lacks IoUs of mine"),
    ],
)
def test_queries_that_do_not_belong_are_refused(run, spoil, said):
    spoil(run.parent / "queries.jsonl")
    with pytest.raises(VGGymError, match=said):
        read_results(run).queries().values("mine")

"""The report in a real browser, from the disk: what a click does, what a phone shows, what hostile text does not do."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.browsers import needs_browser, opened
from tests.evaluation.rows import lines, row
from vg_gym.evaluation.report.report import write_report
from vg_gym.types import Query

pytestmark = needs_browser
META = {"dataset": "refshapes", "split": "test", "command": "python evaluate.py", "date": "", "versions": {}}
HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
PATIENCE = 300_000
"""Milliseconds that a picture may take on a busy machine."""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


@pytest.fixture
def drive(browser):
    """Function that returns what a script says in a page whose own scripts have run, and the page's document then."""

    def drive(page, script="", width=1280, height=6000):
        window = browser.new_page(viewport={"width": width, "height": height})
        window.set_default_timeout(PATIENCE)
        window.goto(page.as_uri())
        answer = window.evaluate(f"() => {{ {CHOOSE} {script} }}")
        document = window.content()
        window.close()
        return answer, document

    return drive


CHOOSE = """
const choose = (id, value) => {
  const select = document.getElementById(id);
  select.value = value;
  select.dispatchEvent(new Event("change"));
};
const all = selector => [...document.querySelectorAll(selector)];
const text = selector => all(selector).map(found => found.textContent.trim());
const visible = selector => all(selector).filter(found => found.offsetParent !== null);
"""


@pytest.fixture
def page(shapes, tmp_path):
    samples = [shapes[i] for i in range(8)]
    rows = [
        row("full", "floor", [0.1] * 8, samples),
        row("up", "method", np.linspace(0.2, 0.9, 8), samples, seen={"method": "nothing", "CLIP": "words " * 30}),
        row("down", "method", np.linspace(0.8, 0.2, 8), samples),
    ]
    path = [[0, 0, 128, 128], [5, 5, 90, 90], [1, 1, 50, 60]]
    given = {one["method"]: lines([path[-1]] * 8, path if one["method"] == "up" else None) for one in rows}
    write_report(tmp_path, rows, samples, given, META)
    return tmp_path / "report.html"


def test_a_click_sorts_the_table(page, drive):
    said, _ = drive(page, """
        const names = () => text("#figures tbody td:first-child"), found = [names()];
        const button = all("#figures th button")[2];
        for (let i = 0; i < 3; i++) { button.click(); found.push(names()); }
        all("#figures th button")[0].click();
        found.push(names());
        button.click();
        choose("kind", "attribute");
        found.push(names());
        choose("kind", "");
        return [...found, names()];""")  # fmt: skip
    page_order, down = ["full", "up", "down"], ["up", "down", "full"]
    of_attributes = ["down", "up", "full"]
    assert said == [page_order, down, down[::-1], page_order, ["down", "full", "up"], of_attributes, down]


def test_filters_show_cases_with_the_path_and_always_the_truth(page, drive):
    said, _ = drive(page, """
        const count = () => ["figure", ".truth", ".step", ".answer"].map(what => all(`#gallery ${what}`).length);
        const found = [count()];
        choose("method", "1");
        found.push(count(), text("#gallery h3"), text("#gallery figcaption")[0], visible("#figures tbody tr").length);
        choose("kind", "size");
        found.push(count(), new Set(text("#gallery figcaption small")).size, text("tr[data-row='1'] td")[1]);
        choose("method", "0");
        found.push(text("#gallery"));
        choose("method", "");
        found.push(visible("figure[data-kind]").length);
        return found;""")  # fmt: skip
    assert said[0] == [8, 8, 0, 16]  # two methods' boxes on every sample
    assert said[1] == [12, 12, 24, 12]  # six worst and six typical, each with two steps before its answer
    assert said[2] == ["up: worst cases", "up: most typical cases, nearest to its median IoU"]
    assert "IoU 0.200, 2 moves" in said[3] and said[4] == 1
    assert said[5] == [4, 4, 8, 4] and said[6:8] == [1, "2"]
    assert said[8] == ["Floors have no pictures: choose another method, or all methods."] and said[9] == 1


def test_two_methods_are_compared_both_ways(page, drive):
    said, _ = drive(page, """
        const first = () => text("#differences tbody tr:first-child td"), found = [];
        const count = () => ["#scatter circle", "#ahead-a figure", "#ahead-b figure"].map(what => all(what).length);
        choose("a", "0");
        choose("b", "1");
        found.push(first(), count(), text("#differences tbody td:first-child"));
        choose("a", "1");
        choose("b", "0");
        found.push(first(), count());
        choose("a", "0");
        found.push(first());
        return found;""")  # fmt: skip
    assert said[0][0:3] == ["all", "8", "−0.050"] and said[0][4] == "−0.125" and said[0][6:] == ["4", "3"]
    assert said[1] == [8, 4, 4] == said[4]
    assert said[2] == ["all", "attribute", "location", "relation", "size"]
    assert said[3][2] == "+0.050" and said[3][6:] == ["3", "4"]
    assert said[5] == ["Choose two different methods."]


def test_a_phone_shows_all_of_it(page, drive):
    (width, inner, cut), _ = drive(page, """
        choose("method", "1");
        const wide = all("h1, h2, h3, p, figure, svg, select, pre").filter(found =>
          !found.closest(".scroll") && found.getBoundingClientRect().right > innerWidth);
        wide.push(...all(".words").filter(found => found.getBoundingClientRect().right > innerWidth));
        return [document.documentElement.scrollWidth, innerWidth, wide.map(found => found.outerHTML.slice(0, 80))];""",
        390, 844)  # fmt: skip
    assert inner == 390 and width <= 390 and not cut


def test_pictures_wait_until_they_are_near(page, browser):
    for width, height in ((1280, 12000), (1280, 500), (390, 844)):
        window = browser.new_page(viewport={"width": width, "height": height})
        window.set_default_timeout(PATIENCE)
        window.goto(page.as_uri())
        pictures, loaded = window.locator("img[alt]"), window.locator("img[src^='data:image/jpeg']")
        pictures.first.scroll_into_view_if_needed()
        loaded.first.wait_for(state="attached")
        count = pictures.count()
        assert count >= 8
        if height < 12000:
            assert loaded.count() < count
            pictures.last.scroll_into_view_if_needed()
            pictures.last.and_(loaded).wait_for(state="attached")
        else:
            loaded.nth(count - 1).wait_for(state="attached")
        window.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its policy"])
def test_hostile_text_is_text(shapes, tmp_path, guarded, drive):
    samples = [replace(s, kind=HOSTILE, query=Query(s.query.image, HOSTILE, s.query.key)) for s in shapes]
    rows = [row(name, "method", np.linspace(0, at, 8), samples) for name, at in ((HOSTILE, 0.9), ("other", 0.8))]
    given = {HOSTILE: [{**line, "failure": HOSTILE} for line in lines([None] * 8)], "other": lines([[1, 1, 9, 9]] * 8)}
    write_report(tmp_path, rows, samples, given, {**META, "dataset": HOSTILE, "command": HOSTILE})
    page = tmp_path / "report.html"
    if not guarded:
        page.write_text(POLICY.sub("", page.read_text()))
    said, document = drive(page, """
        choose("method", "0"); choose("kind", document.getElementById("kind").options[1].value);
        return [document.title, all("img[src=x]").length, text("#gallery figcaption")[0]];""")  # fmt: skip
    assert said[0].endswith("vg_gym") and said[1] == 0 and said[2].count(HOSTILE) == 3
    assert "<title>owned" not in document and 'src="x"' not in document
    assert document.count("<figure") > 8 and len(re.findall("<script>", document)) == 2

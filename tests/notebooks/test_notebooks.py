"""The notebooks open without outputs, run from top to bottom, and show what they speak of, here and on the site."""

import base64
import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vg_gym.cli.listing import ready_grounders
from vg_gym.data.drawing import BOX, TARGET

nbformat = pytest.importorskip("nbformat", reason='notebooks are read with pip install -e ".[test]"')
pytest.importorskip("nbclient", reason='notebooks are run with pip install -e ".[test]"')
pytest.importorskip("ipykernel", reason='notebooks are run with pip install -e ".[test]"')

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SPEC = importlib.util.spec_from_file_location("notebook_page", ROOT / "docs/notebook_page.py")
notebook_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebook_page)


def read(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return book


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert cells and not [cell.id for cell in cells if cell.outputs or cell.execution_count is not None]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The notebook as it is once run, in a process with nobody's settings and caches."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "XDG_CACHE_HOME"):
            patch.setenv(name, str(folder / name))
        return notebook_page.run()


def outputs(book):
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def section(book, title):
    """The outputs of the code below a heading."""
    at = next(at for at, cell in enumerate(book.cells) if f"## {title}" in cell.source.splitlines())
    return book.cells[at + 1].outputs


def parts(book, title, kind):
    """What of a kind a section displays."""
    return [output.data[kind] for output in section(book, title) if kind in output.get("data", ())]


def pictures(book, title):
    """The pictures (H, W, 3) of a section."""
    files = [io.BytesIO(base64.b64decode(data)) for data in parts(book, title, "image/png")]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def shown(book, title):
    """The pictures of a section by what stands in bold above each."""
    names = [text.split("**")[1] for text in parts(book, title, "text/markdown")]
    return dict(zip(names, pictures(book, title), strict=True))


def has(picture, color):
    return bool((picture == color).all(-1).any())


def test_the_zoo_runs_without_a_word_of_warning(zoo):
    assert [output.text for output in outputs(zoo) if output.output_type == "stream" and output.name == "stderr"] == []


def test_every_method_is_drawn_with_the_truth(zoo):
    drawn = shown(zoo, "Every method")
    assert list(drawn) == ready_grounders()
    assert all(has(picture, BOX) and has(picture, TARGET) for picture in drawn.values())
    assert len({picture.tobytes() for picture in drawn.values()}) > len(drawn) / 2


def test_proposals_and_heat_maps_are_drawn(zoo):
    proposals, heat_maps = shown(zoo, "Proposals"), shown(zoo, "Heat maps")
    assert {"yolo-clip", "detr-clip", "ssd-clip", "sam-clip", "segments-clip", "reclip"} <= proposals.keys()
    assert heat_maps.keys() == {"seg-clip", "adapting-clip"}
    assert all(has(picture, BOX) for picture in (*proposals.values(), *heat_maps.values()))


def test_an_agents_path_and_refinement_are_drawn(zoo):
    paths, refined = pictures(zoo, "An agent's path"), shown(zoo, "Refinement")
    assert len(paths) == 3 and len(refined) == 3
    assert all(has(picture, BOX) for picture in paths)
    assert all(has(picture, TARGET) for picture in refined.values())


def test_the_page_of_the_site_shows_the_notebook(zoo):
    """Texts, code, names and number of pictures are equal; figures may differ between machines."""
    expected = notebook_page.page(list(notebook_page.markdown(zoo)))
    figures = re.compile(r"(?<=\*\*: ).*")
    assert figures.sub("", notebook_page.PAGE.read_text()) == figures.sub("", expected), (
        "run: python docs/notebook_page.py"
    )


def test_the_pictures_of_the_page_are_there_and_small():
    linked = re.findall(r"\]\(zoo/(.+?)\)", notebook_page.PAGE.read_text())
    files = sorted(notebook_page.PICTURES.iterdir())
    assert linked and linked == [file.name for file in files]
    assert sum(file.stat().st_size for file in files) <= 400_000
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "WEBP" and picture.width <= notebook_page.WIDTH

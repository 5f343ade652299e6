"""Each mistake has a one-line answer that names the thing and the remedy, before anything is computed."""

import pytest

from tests.mistakes.answers import answer_of
from tests.mistakes.table import MISTAKES, make_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the mistakes name; the cache is elsewhere."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    place = tmp_path / "place"
    place.mkdir()
    make_files(place)
    return place


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_the_answer_names_the_thing_and_the_remedy(mistake, folder):
    answer = answer_of(mistake, folder)
    assert not answer.lacks(mistake), answer.printed


def test_there_are_fifty_mistakes_at_least():
    assert len({str(mistake) for mistake in MISTAKES}) == len(MISTAKES) >= 50

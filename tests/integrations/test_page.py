"""The code blocks of docs/language-models.md, run as they stand but for the address of the server."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest

from tests.chat_server import completion, serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/language-models.md").read_text()


def block(heading):
    """The Python of a section."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    return re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[1]


def printed(code):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(compile(code, "language-models.md", "exec"), {})
    return text.getvalue()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder like that of a user, with the picture of the page."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/scene.png", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.mark.parametrize("heading", ["Models behind a server", "Asked again", "verifiers"])
def test_a_block_runs_against_a_server(heading, here, monkeypatch):
    if heading == "verifiers":
        pytest.importorskip("verifiers.v1")
        monkeypatch.syspath_prepend(str(ROOT / "integrations/verifiers"))
    with serving(lambda body: completion("[250, 250, 750, 750]")) as stub:
        text = printed(block(heading).replace("http://localhost:8000/v1", stub.base))
    assert len(stub.requests) == {"Models behind a server": 1, "Asked again": 8, "verifiers": 8}[heading]
    assert re.search(r"\d", text), text


def test_the_block_of_openenv_runs_against_its_server(here, tmp_path, monkeypatch):
    pytest.importorskip("openenv.core")
    from tests.integrations.test_openenv import served

    (tmp_path / "vg_gym_openenv").symlink_to(ROOT / "integrations/openenv")
    monkeypatch.syspath_prepend(str(tmp_path))
    with served(tmp_path) as base:
        patient = block("OpenEnv").replace(
            'base_url="http://localhost:8000"', f'base_url="{base}", message_timeout_s=600'
        )
        text = printed(patient)  # a busy machine may need minutes for the first episode
    assert len(text.splitlines()) == 7  # six steps, and the IoU


def test_blocks_are_short():
    for heading in ("Models behind a server", "Asked again", "OpenEnv", "verifiers"):
        lines = [line for line in block(heading).splitlines() if line.strip()]
        assert len(lines) <= 14, (heading, len(lines))


def test_the_prompt_on_the_page_is_that_of_the_code():
    from vg_gym.baselines.foundation.questions import REFINE_PROMPT

    assert f"> {REFINE_PROMPT.removesuffix(' {}')}\n" in PAGE

"""The demo's page: Gradio components over :mod:`vg_gym.pictures.demo`. The page sends no requests to other hosts."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported

import gradio as gr

from vg_gym.errors import VGGymError
from vg_gym.pictures.demo import SCENES, Answer, Picture, answered, drawn_scene, own_picture, typed_score

TITLE = "vg_gym: what does a sentence mean in a picture?"
NO_METHOD = "none"
"""Choice of the menu that shows no second method."""
MAX_UPLOAD_SIZE = "30mb"
"""Maximum size of an upload."""
PICTURE_LIFETIME_S = 3600
"""Seconds that drawn and uploaded pictures stay on the server."""
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.note { color: var(--body-text-color); }
.wrong { border-left: 4px solid #d9480f; padding: 6px 10px; background: rgba(217, 72, 15, .1);
  overflow-wrap: anywhere; }
.numbers { width: 100%; border-collapse: collapse; }
.numbers th, .numbers td { text-align: left; font-weight: normal; padding: 3px 8px; overflow-wrap: anywhere; }
.numbers tr, .numbers th, .numbers td { border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.numbers th { color: var(--body-text-color) !important; opacity: .7; }
.key b { padding: 0 4px; border-radius: 3px; background: #18181c; }
"""
LEGEND = (
    '<div class="key note">In the pictures: <b style="color:#ffd60a">answer</b>, '
    '<b style="color:#3cdc78">truth</b> of a drawn scene, <b style="color:#fff">earlier steps, or proposals</b>.</div>'
)
SERIAL_EVENT: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "methods", "api_visibility": "private"}
"""Options of events that run a method. They run one at a time, since they share the processor and loaded methods."""
DRAWING_EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of events that only draw."""


class AnswerColumn:
    """Column of the page with the answer of one method.

    Args:
        name: prefix of the parts' ids in the page's HTML.
        visible: show the column before the first answer.
    """

    def __init__(self, name: str, visible: bool):
        self.answer = gr.State(None)
        with gr.Column(visible=visible, min_width=300) as self.column:
            self.message = gr.HTML(visible=False)
            self.image = _picture("Answer", f"{name}-answer")
            self.step = gr.Slider(0, 1, step=1, label="Step of the agent", visible=False, elem_id=f"{name}-step")
            self.numbers = gr.HTML(elem_id=f"{name}-numbers")
            self.proposals = _picture("Proposals, the likeliest brightest", f"{name}-proposals")
            self.heat_map = _picture("Heat map", f"{name}-heat-map")
        self.parts = [self.answer, self.column, self.message, self.image, self.step, self.numbers, self.proposals,
                      self.heat_map]  # fmt: skip
        self.step.input(
            lambda answer, step: answer.drawn(int(step)), [self.answer, self.step], self.image, **DRAWING_EVENT
        )

    def show(self, answer: Answer | None) -> list[Any]:
        """Return the updates of the parts for an answer; None hides the column."""
        if answer is None:
            return [None, gr.update(visible=False), *[gr.update()] * (len(self.parts) - 2)]
        steps = answer.steps
        return [
            answer,
            gr.update(visible=True),
            _alert(answer.message),
            _image_update(answer.drawn(steps)),
            gr.update(visible=steps > 0, maximum=max(steps, 1), value=steps),
            _table(answer),
            _image_update(answer.drawn_proposals()),
            _image_update(answer.drawn_heat_map()),
        ]


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(label=label, elem_id=name, interactive=False, visible=False, buttons=["fullscreen"], format="png")


def _image_update(image: Any) -> Any:
    return gr.update(value=image, visible=image is not None)


def _alert(message: str) -> Any:
    return gr.update(value=f'<div class="wrong" role="alert">{escape(message)}</div>', visible=bool(message))


def _table(answer: Answer) -> str:
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in answer.numbers.items())
    return f'<table class="numbers">{"".join(rows)}</table>'


def build(methods: Sequence[str], clip: str | None = None, nothing_below: float | None = None) -> gr.Blocks:
    """Build the page.

    Args:
        methods: names of grounders in the menu; the first one is preselected.
        clip: name of the CLIP, for methods that use one; default: see :func:`vg_gym.ground`.
        nothing_below: initial value of the field for the score below which nothing fits.
    """
    first = drawn_scene(0)
    sentences = list(first.targets)

    def ask(column: AnswerColumn, current: Picture | None, sentence: str, method: str, threshold: str) -> list[Any]:
        if method == NO_METHOD:
            return column.show(None)
        try:
            score = typed_score(threshold)
        except VGGymError as error:
            return column.show(Answer(None, str(error)))
        return column.show(answered(current, sentence or "", method, clip, score))

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(PICTURE_LIFETIME_S, PICTURE_LIFETIME_S)) as page:
        current = gr.State(first)
        gr.Markdown(f"## {TITLE}")
        with gr.Row():
            with gr.Column(min_width=300):
                image = gr.Image(first.shown(), label="Picture", elem_id="picture", interactive=False, format="png",
                                 buttons=["fullscreen"])  # fmt: skip
                with gr.Row():
                    upload = gr.UploadButton("Upload a picture", file_types=["image"], elem_id="upload", min_width=120)
                    another = gr.Button("Another drawn scene", elem_id="another", min_width=120)
            with gr.Column(min_width=300):
                problem = gr.HTML(visible=False, elem_id="problem")
                sentence = gr.Textbox(sentences[-1], label="Sentence", elem_id="sentence", max_lines=3)
                offered = gr.Radio(sentences, label="Sentences of this scene", elem_id="offered")
                method = gr.Dropdown(list(methods), value=methods[0], label="Method", elem_id="method")
                beside = gr.Dropdown([NO_METHOD, *methods], value=NO_METHOD, label="Beside it", elem_id="beside")
                label = "Nothing fits below this score (empty: the method alone decides)"
                score = "" if nothing_below is None else str(nothing_below)  # an empty gr.Number is 0
                threshold = gr.Textbox(score, label=label, elem_id="nothing-below", max_lines=1)
                ground_button = gr.Button("Ground", variant="primary", elem_id="ground")
                number = gr.Number(0, label=f"Drawn scene, 0 to {SCENES.scenes - 1}", precision=0, elem_id="scene")
        gr.HTML(LEGEND)
        with gr.Row():
            columns = AnswerColumn("first", visible=True), AnswerColumn("second", visible=False)

        pictured = [current, image, sentence, offered, problem]
        upload.upload(_take_upload, upload, pictured, **DRAWING_EVENT)
        another.click(lambda: random.randrange(SCENES.scenes), None, number, **DRAWING_EVENT)
        gr.on([number.change, number.submit], _take_scene, number, pictured, **DRAWING_EVENT)
        offered.input(lambda text: text, offered, sentence, **DRAWING_EVENT)
        for column, choice in zip(columns, (method, beside), strict=True):
            gr.on(
                [ground_button.click, sentence.submit], partial(ask, column), [current, sentence, choice, threshold],
                column.parts, **SERIAL_EVENT,
            )  # fmt: skip
    return page


def _take_scene(number: int | None) -> list[Any]:
    """Return the updates of the picture's parts for the number of a scene."""
    try:
        scene = drawn_scene(-1 if number is None else int(number))
    except VGGymError as error:
        return [gr.update()] * 4 + [_alert(str(error))]
    sentences = list(scene.targets)
    return [scene, scene.shown(), sentences[-1], gr.update(choices=sentences, value=None, visible=True), _alert("")]


def _take_upload(path: str) -> list[Any]:
    """Return the updates of the picture's parts for an uploaded file."""
    try:
        upload = own_picture(path)
    except VGGymError as error:
        return [gr.update()] * 4 + [_alert(str(error))]
    return [upload, upload.shown(), gr.update(), gr.update(choices=[], value=None, visible=False), _alert("")]


def serve(
    methods: Sequence[str], host: str, port: int | None, clip: str | None = None, nothing_below: float | None = None
) -> None:
    """Serve the page until the command is interrupted.

    Args:
        methods: see :func:`build`.
        host: address to listen on; ``127.0.0.1`` accepts connections from this machine only.
        port: port to listen on; None: the first free one from 7860 on.
        clip: see :func:`build`.
        nothing_below: see :func:`build`.

    Raises:
        VGGymError: the port is in use.
    """
    page = build(methods, clip, nothing_below).queue(default_concurrency_limit=4)
    try:
        page.launch(
            server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True, ssr_mode=False,
            footer_links=[], max_file_size=MAX_UPLOAD_SIZE, css=CSS,
        )  # fmt: skip
    except OSError as error:
        raise VGGymError(f"cannot listen on {host}, port {port or 'from 7860 on'}; give another, --port N") from error
    print(f"{page.local_url}  (Ctrl-C stops the server)", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)

"""Layouts of parquet files: the names of their columns, which options of the data set replace.

The layout of Ref-L4 was read on its page of the hub (``JierunChen/Ref-L4``), that of Ref-Adv-s in the authors' code
(``dddraxxx/Ref-Adv``), that of GroundingME on its page of the hub and in the authors' code (``lirang04/GroundingME``).
These three are not tried with the real files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vg_gym.data.pixels import ORIENTATIONS, STORED, UNKNOWN
from vg_gym.errors import VGGymError, unknown

NO_COLUMNS = ("frame", "box_format", "orientation", "nothing")
"""Fields of a layout that are not names of columns."""
BOX_FORMATS = ("xyxy", "xywh")
"""Formats of boxes: corners; or left, top, width, height."""


@dataclass(frozen=True)
class Layout:
    """Names of the columns of a data set; an empty name means that the column is missing."""

    image: str = ""
    """Column of encoded images: bytes, or the hub's struct of bytes and path."""
    file_name: str = ""
    """Column of the images' paths within the data set, which identify them."""
    expressions: str = ""
    """Column of expressions in a form that :func:`vg_gym.data.parquet_cells.texts_of` reads."""
    box: str = ""
    """Column of boxes, four numbers each."""
    boxes: str = ""
    """Column of lists of boxes, in place of ``box``; an empty list means that the expression lacks a target."""
    nothing: str = ""
    """``COLUMN=VALUE``: rows whose expressions lack a target, whatever their box says."""
    box_format: str = ""
    """Format of the boxes, one of :data:`BOX_FORMATS`."""
    frame: str = "pixels"
    """Frame of the boxes, a key of :data:`vg_gym.frames.FRAMES`."""
    orientation: str = UNKNOWN
    """Pixels that boxes refer to, of :data:`vg_gym.data.pixels.ORIENTATIONS`."""
    category: str = ""
    """Column of category names."""
    kind: str = ""
    """Column of kinds of expressions: texts or numbers; true and false become the column's name and ``not`` it."""
    ref_id: str = ""
    """Column of numbers of the referents."""
    ann_id: str = ""
    """Column of numbers of the annotations."""
    image_id: str = ""
    """Column of numbers of the images."""
    sent_ids: str = ""
    """Column of numbers of the expressions."""

    @property
    def columns(self) -> dict[str, str]:
        """Field -> name of its column, for the fields that name one; ``nothing`` names one, too."""
        named = {key: name for key, name in vars(self).items() if name and key not in NO_COLUMNS}
        return {**named, **({"nothing": self.nothing.partition("=")[0]} if self.nothing else {})}


LAYOUTS: dict[str, Layout] = {
    "lmms-lab": Layout(
        "image", "file_name", "answer", "bbox", box_format="xywh", orientation=STORED, ann_id="question_id"
    ),
    "jxu124": Layout(
        "", "image_path", "captions", "bbox", box_format="xyxy", orientation=STORED, ref_id="ref_id", ann_id="ann_id",
        image_id="image_id", sent_ids="sent_ids",
    ),
    "ref-l4": Layout(
        "", "file_name", "caption", "bbox", box_format="xywh", orientation=STORED, category="ori_category_id",
        kind="is_rewrite", image_id="image_id", sent_ids="id",
    ),
    "ref-adv": Layout(
        "image", "file_name", "normal_caption", "solution", box_format="xyxy", kind="use_negation", sent_ids="row_idx"
    ),
    "grounding-me": Layout(
        "image", "", "description", "bbox", nothing="subtask_l1=Rejection", box_format="xyxy", kind="subtask_l1",
        sent_ids="id",
    ),
}  # fmt: skip
"""Known layouts: the columns of the public copies of RefCOCO, RefCOCO+ and RefCOCOg by lmms-lab and jxu124, and of
Ref-L4, Ref-Adv and GroundingME by their authors."""


def chosen_layout(columns: Sequence[str], options: Mapping[str, str], where: str) -> Layout:
    """Return the first known layout whose columns all exist, with its fields replaced by ``options``.

    Args:
        columns: names of the existing columns.
        options: fields of :class:`Layout`.
        where: name of the data set in errors.

    Raises:
        VGGymError: a field or a column is unknown, the layout lacks images, expressions, boxes or their format, or it
            has a column of boxes and one of lists of boxes.
    """
    for name in options:
        if name not in Layout.__dataclass_fields__:
            raise unknown("data set option", name, [*Layout.__dataclass_fields__, "configuration", "revision"])
    if "boxes" in options:
        options = {"box": "", **options}
    fits = (
        layout
        for layout in LAYOUTS.values()
        if all(name in columns for key, name in layout.columns.items() if key not in options)
    )
    layout = Layout(**{**vars(next(fits, Layout())), **options})
    for name in layout.columns.values():
        if name not in columns:
            raise unknown(f"column of {where}", name, columns)
    if layout.box and layout.boxes:
        raise VGGymError(f"{where}: dataset_options has box={layout.box} and boxes={layout.boxes}; give one of them")
    missing = [key for key in ("expressions", "box_format") if not getattr(layout, key)]
    missing += [] if layout.box or layout.boxes else ["box"]
    missing += [] if layout.image or layout.file_name else ["image"]
    if missing:
        settings = " ".join(f"dataset_options.{key}=..." for key in missing)
        raise VGGymError(
            f"{where} has the columns {', '.join(columns)}, which are of no known layout; say which is what: "
            f"{settings} (box_format: {' or '.join(BOX_FORMATS)})"
        )
    if layout.box_format not in BOX_FORMATS:
        raise unknown("box format", layout.box_format, BOX_FORMATS)
    if layout.orientation not in (*ORIENTATIONS, UNKNOWN):
        raise unknown("orientation", layout.orientation, ORIENTATIONS)
    return layout

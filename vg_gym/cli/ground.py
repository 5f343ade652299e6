"""``vg-gym ground``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vg_gym.cli.parsers import add_command, add_plugins
from vg_gym.errors import VGGymError
from vg_gym.registry import load_plugins
from vg_gym.runtime.light_imports import leave_towers_out
from vg_gym.storage.files import make_folder, replacing
from vg_gym.storage.outputs import SOFTWARE, SOFTWARE_TAG, is_own_picture, refuse_foreign

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Suffix of a drawing -> its format; without a suffix it is a PNG."""
DEFAULTS = "{} if the built-in CLIP knows all words, otherwise {}"
"""Default methods and CLIPs in the help; :func:`vg_gym.pictures.ground.chosen` chooses them."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = add_command(commands, "ground", "Find the object that a sentence describes in pictures", ground)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files, or folders of them")
    parser.add_argument("expression", help='description of the object, e.g. "the man in the yellow coat"')
    parser.add_argument("--out", type=Path, help="drawing of the box: a file for one picture, a folder for several")
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"a grounder (vg-gym list grounders), or "
        f"package.module:factory; default: {DEFAULTS.format('agent:refshapes', 'yolo-clip')}",
    )
    parser.add_argument(
        "--clip",
        metavar="NAME",
        help=f"CLIP of methods that need one; default: {DEFAULTS.format('refshapes', 'ViT-B-32:openai')}",
    )
    parser.add_argument("--api-base", metavar="URL", help="server of api:MODEL, e.g. http://localhost:8000/v1")
    parser.add_argument("--weights", help="weights of the method: a file, or a name to download")
    parser.add_argument(
        "--nothing-below",
        type=float,
        metavar="SCORE",
        help="score below which the answer is that nothing fits; by default the method alone decides",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_plugins(parser)


def ground(options: argparse.Namespace) -> None:
    """Ground the expression in every picture, print the boxes and draw them.

    Raises:
        VGGymError: the method is unknown, weights are missing, or some pictures could not be read.
    """
    from vg_gym.pictures.ground import ground_each
    from vg_gym.pictures.sources import picture_files

    if not options.plugins:
        leave_towers_out()
    load_plugins(options.plugins)
    files = picture_files(options.images)
    more = {"weights": options.weights, "base": options.api_base}
    more = {name: value for name, value in more.items() if value}
    answers = ground_each(
        files, [options.expression] * len(files), options.method, options.clip, options.nothing_below, **more
    )
    places = _places(files, options.out) if options.out else {}
    for place in places.values():
        refuse_foreign(place, is_own_picture)
    if len(files) > 1 and options.out is not None:
        make_folder(options.out)
    broken = []
    warnings.showwarning = lambda message, *_, **__: tqdm.write(f"vg-gym: warning: {message}", file=sys.stderr)
    for file, answer in zip(files, tqdm(answers, total=len(files), disable=len(files) < 50), strict=True):
        if isinstance(answer, VGGymError):
            broken.append(file)
            tqdm.write(f"vg-gym: {answer}", file=sys.stderr)  # plain print would break the progress bar
            continue
        print(_line(file, answer, options.json), flush=True)
        if options.out is not None:
            _save(answer, places[file])
        if not broken and file == files[0] and not options.json:
            clip = f" with {answer.clip}" if answer.clip else ""
            print(f"answered by {answer.method}{clip}; --method and --clip choose", file=sys.stderr)
    if options.out is not None and len(broken) < len(files) and not options.json:
        print(f"drawn in {options.out}", file=sys.stderr)
    if broken:
        first = f"{len(broken)} of {len(files)} pictures could not be read, the first: {broken[0]}"
        raise VGGymError(f"{first}; the rest are answered" if len(broken) < len(files) else first)


def _line(file: Path, answer: Any, as_json: bool) -> str:
    """Return a line of text, or one for each of several boxes; or a JSON object."""
    from vg_gym.pictures.found import NOTHING

    boxes = [[round(float(value), 1) for value in box] for box in answer.boxes]
    point = None if answer.point is None else [round(float(value), 1) for value in answer.point]
    scores = [None] * len(boxes) if answer.scores is None else [float(score) for score in answer.scores]
    if as_json:
        return json.dumps(
            {"image": str(file), "expression": answer.expression, "box": boxes[0] if boxes else None, "boxes": boxes,
             "score": answer.score, "scores": scores, "method": answer.method, "clip": answer.clip,
             **({"point": point} if point else {})}
        )  # fmt: skip
    texts = [(" ".join(map(str, box)), score) for box, score in zip(boxes, scores, strict=True)]
    return "\n".join(
        f"{file}  {text}{'' if score is None else f'  score {score:.3f}'}"
        for text, score in texts or [(f"point {point[0]} {point[1]}" if point else NOTHING, answer.score)]
    )


def _places(files: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the file of each picture's drawing: ``out``, or a file in it, with folders in the name if names clash.

    Raises:
        VGGymError: there is only one picture, and ``out`` is a folder or ends like no format of pictures.
    """
    if len(files) == 1:
        if out.is_dir():
            raise VGGymError(f"{out} is a folder: name a file for the one picture, e.g. {out / files[0].stem}.png")
        if out.suffix and out.suffix.lower() not in FORMATS and not out.exists():
            raise VGGymError(f"{out} would be a picture of an unknown format: end its name with {', '.join(FORMATS)}")
        return {files[0]: out}
    stems = Counter(file.stem for file in files)
    home = Path(os.path.commonpath([file.absolute().parent for file in files]))
    clashing = {file: "-".join(file.absolute().relative_to(home).parts) for file in files if stems[file.stem] > 1}
    return {file: out / f"{clashing.get(file, file.stem)}.png" for file in files}


def _save(answer: Any, path: Path) -> None:
    """Draw the box to a file whose EXIF names this program."""
    kind = FORMATS.get(path.suffix.lower(), "PNG")
    drawn = answer.draw()
    exif = drawn.getexif()
    exif[SOFTWARE_TAG] = SOFTWARE
    with replacing(path) as part:
        drawn.save(part, format=kind, exif=exif)

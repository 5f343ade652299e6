"""Comparison of two results: pairs of methods and their differences, as a table and as an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.errors import VGGymError
from vg_gym.evaluation.intervals import TOO_FEW, Interval
from vg_gym.evaluation.pairs import Difference, Pairing
from vg_gym.evaluation.report.scatter import BETTER, GRID, INK, WORSE, font
from vg_gym.evaluation.saved import Results, check_one_setup


@dataclass(frozen=True)
class Pair:
    """Method of one run, method of another, and the differences between them."""

    a: str
    """Method of the first run."""
    b: str
    """Method of the second run."""
    figures: dict[str, float]
    """Mean IoU and Acc@0.5 of each: ``mean_iou_a``, ``mean_iou_b``, ``accuracy_a``, ``accuracy_b``."""
    differences: list[Difference]
    """Differences of all queries, then of each kind."""

    @property
    def name(self) -> str:
        """Both names, or one name if they are equal."""
        return self.a if self.a == self.b else f"{self.b} against {self.a}"


def pair_results(first: Results, second: Results, a: str | None = None, b: str | None = None) -> list[Pair]:
    """Pair methods of two runs on the same queries; :func:`chosen_methods` chooses them.

    Args:
        first: first results, with ``queries.jsonl`` in their folder.
        second: second results; the first ones again, to compare two methods of one run.
        a: method of the first results; default: all methods in both.
        b: method of the second results; default: the same method.

    Raises:
        VGGymError: the results are not of the same queries, lack a method, or share none.
    """
    check_one_setup([first, second])
    names = chosen_methods(first, second, a, b)
    queries_a, queries_b = first.queries(), second.queries()
    pairs = []
    for name_a, name_b in names:
        ious = {"a": queries_a.ious(name_a), "b": queries_b.ious(name_b)}
        pairing = Pairing(ious, queries_a.kinds, queries_a.images)
        rows = {"a": first.row(name_a), "b": second.row(name_b)}
        figures = {
            f"{figure}_{side}": row[column]
            for side, row in rows.items()
            for figure, column in (("mean_iou", "mean_iou"), ("accuracy", "acc@0.5"))
        }
        pairs.append(Pair(name_a, name_b, figures, pairing.differences("a", "b")))
    return pairs


def chosen_methods(first: Results, second: Results, a: str | None, b: str | None) -> list[tuple[str, str]]:
    """Return the pairs of methods to compare.

    These are the named methods; else all methods with the same name; else the only method of each run, without floors.

    Args:
        first: first results.
        second: second results, or the first ones again.
        a: method of the first results; None: not named.
        b: method of the second results; None: not named.

    Raises:
        VGGymError: a method does not exist, or no method is named and the choice is ambiguous.
    """
    if a or b:
        named = (a or b or "", b or a or "")
        first.row(named[0])
        second.row(named[1])
        pairs = [named]
    else:
        mine, other = first.methods(), second.methods()
        pairs = [(name, name) for name in mine if name in other]
        if not pairs and len(mine) == len(other) == 1:
            pairs = [(mine[0], other[0])]
    if not pairs:
        raise VGGymError(
            f"no method is in both: name one of each, --a of {', '.join(mine) or 'none'} and --b of "
            f"{', '.join(other) or 'none'}"
        )
    if first.path.resolve() == second.path.resolve() and any(x == y for x, y in pairs):
        raise VGGymError(f"{first.path} against itself: name two methods of it, --a NAME --b NAME")
    return pairs


def print_pairs(pairs: Sequence[Pair], title: str) -> None:
    """Print a table of differences: one line for all queries and one for each kind of every pair."""
    table = Table(title=title)
    figures = ("n", "mean IoU", "95 % CI", "Acc@0.5", "95 % CI", "only A right", "only B right")
    for name in ("B - A", "kind", *figures):
        table.add_column(name, justify="right" if name in figures else "left", no_wrap=name == "B - A")
    for pair in pairs:
        for at, difference in enumerate(pair.differences):
            table.add_row(
                "" if at else escape(pair.name),
                escape(difference.kind or "all"),
                f"{difference.n:,}",
                f"{difference.mean_iou:+.3f}",
                _interval(difference.mean_iou_ci),
                f"{difference.accuracy:+.3f}",
                _interval(difference.accuracy_ci),
                f"{difference.only_a:,}",
                f"{difference.only_b:,}",
                style="" if at else "bold",
                end_section=at == len(pair.differences) - 1,
            )
    Console(width=None if Console().is_terminal else 168).print(table)


def _interval(ci: Interval | None) -> str:
    return TOO_FEW if ci is None else f"{ci[0]:+.3f} to {ci[1]:+.3f}"


LEFT, PANEL, GAP, LINE, TOP, BOTTOM, MARGIN = 300, 600, 80, 48, 112, 68, 24
"""Pixels of the names, a panel, the space between panels, a line, above and below the lines, and the margin."""
LARGE, MEDIUM, SMALL = 30, 24, 22
"""Font sizes in pixels."""
MUTED, NEUTRAL = (108, 117, 125), (73, 80, 87)
SCALES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Possible values at the ends of the axes."""


def draw_pairs(pairs: Sequence[Pair], title: str) -> Image.Image:
    """Draw differences with their intervals: mean IoU on the left, Acc@0.5 on the right, 0 as a line.

    Intervals above 0 are green, intervals below 0 are red, others are grey.

    Args:
        pairs: pairs to draw, one below the other.
        title: title at the top.
    """
    width, lines = LEFT + 2 * PANEL + GAP + 2 * MARGIN, sum(len(pair.differences) + 1 for pair in pairs)
    sheet = Image.new("RGB", (width, TOP + lines * LINE + BOTTOM), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 20), _cut(title, width - 2 * MARGIN, LARGE), INK, font(LARGE))
    scale, panels = _scale(pairs), (LEFT, LEFT + PANEL + GAP)
    for x, name in zip(panels, ("B - A, mean IoU", "B - A, Acc@0.5"), strict=True):
        draw.text((x + PANEL / 2, 70), name, INK, font(MEDIUM), anchor="ma")
        _draw_grid(draw, x, lines, scale)
    y = TOP
    for pair in pairs:
        draw.rectangle((0, y, width, y + LINE - 4), "white")
        draw.text((MARGIN, y + LINE / 2), _cut(pair.name, width - 2 * MARGIN, MEDIUM), INK, font(MEDIUM), anchor="lm")
        for difference in pair.differences:
            y += LINE
            about = _cut(f"{difference.kind or 'all'} ({difference.n:,})", LEFT - 3 * MARGIN, MEDIUM)
            draw.text((2 * MARGIN, y + LINE / 2), about, MUTED, font(MEDIUM), anchor="lm")
            _draw_interval(draw, panels[0], y, scale, difference.mean_iou, difference.mean_iou_ci)
            _draw_interval(draw, panels[1], y, scale, difference.accuracy, difference.accuracy_ci)
        y += LINE
    return sheet


def _scale(pairs: Sequence[Pair]) -> float:
    """Return the smallest of the scales that contains all intervals; else the largest."""
    differences = [difference for pair in pairs for difference in pair.differences]
    ends = [
        abs(end)
        for d in differences
        for end in (*(d.mean_iou_ci or ()), *(d.accuracy_ci or ()), d.mean_iou, d.accuracy)
    ]
    return next((scale for scale in SCALES if max(ends) <= scale), SCALES[-1])


def _draw_grid(draw: ImageDraw.ImageDraw, x: int, lines: int, scale: float) -> None:
    bottom = TOP + lines * LINE
    for tick in (-1, -0.5, 0, 0.5, 1):
        tick_x = x + (tick + 1) / 2 * PANEL
        draw.line((tick_x, TOP, tick_x, bottom), GRID if tick else INK, 2)
        draw.text((tick_x, bottom + 12), f"{tick * scale:+g}" if tick else "0", MUTED, font(SMALL), anchor="ma")


def _draw_interval(draw: ImageDraw.ImageDraw, x: int, y: int, scale: float, value: float, ci: Interval | None) -> None:
    first, last = ci or (value, value)
    color = NEUTRAL if ci is None else BETTER[:3] if first > 0 else WORSE[:3] if last < 0 else NEUTRAL
    low, at, high = (x + (end / scale + 1) / 2 * PANEL for end in (first, value, last))
    middle = y + LINE / 2
    draw.line((low, middle, high, middle), color, 5)
    draw.ellipse((at - 9, middle - 9, at + 9, middle + 9), color)


def _cut(text: str, width: int, size: int) -> str:
    """Return text, shortened to at most ``width`` pixels."""
    while len(text) > 4 and font(size).getlength(text) > width:
        text = f"{text[:-2].rstrip('…')}…"
    return text

"""Options of a comparison, which are the flags of ``evaluate.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SETTINGS = ("dataset", "dataset_options", "split", "limit", "seed")
"""Fields that must be the same in a resumed run."""
UNRECORDED = ("root", "out", "command", "runner", "workers")
"""Fields that are not in the settings of ``results.json``, since results do not depend on them."""


@dataclass
class ComparisonOptions:
    """Options of :class:`vg_gym.evaluation.comparison.Comparison`."""

    methods: Sequence[str]
    """Grounders (``vg-gym list grounders``), grounders of your own (``package.module:factory``), and ``action-oracle``,
    the upper bound of an action set. Without options it bounds the moves of each agent in the table, or
    ``multi-edges`` in 12 steps."""
    out: str
    """Folder for the results."""
    dataset: str | None = None
    """A data set (``vg-gym list datasets``), or ``package.module:factory``; unused with ``recorded``."""
    split: str = "test"
    """Split of the data set that is evaluated."""
    root: str | None = None
    """Folder of the data set on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the evaluated split, e.g. ``seed`` of RefShapes."""
    train_split: str = "train"
    """Split on which fitted methods are fitted."""
    clip: str = ""
    """CLIP of methods that take one, and of the crop metrics. By default that of the world for built-in data, and for
    other data ``ViT-B-32:openai`` if a method takes a CLIP. ``none`` leaves the crop metrics out; methods then take the
    default."""
    limit: int | None = None
    """Number of samples to evaluate, from the first on; by default all."""
    refine: str | None = None
    """One method, or several with commas, that starts from the boxes of every other method but not of floors. Each
    adds a row with the paired differences of mean IoU and Acc@0.5, and a panel in ``refined.png``."""
    iterate: int = 0
    """Number of times that every method which takes initial boxes (``vlm``, ``api``, ``agent``, ``diffusion``) is asked
    again, with its last box. Each adds a row, ``METHOD turn 2`` and so on, with the paired differences to the turn
    before. A vision-language model sees its box as a red rectangle on the image."""
    api_base: str | None = None
    """Address of the server of ``api:MODEL``, e.g. ``http://localhost:8000/v1``. Its key is read from the environment
    variable ``VG_GYM_API_KEY``."""
    api_concurrency: int | None = None
    """Number of requests at the same time to that server; by default 8."""
    predictions: str | None = None
    """File of recorded answers to evaluate as one more method; docs/evaluation.md describes its format."""
    frame: str | None = None
    """Coordinate frame of the boxes in ``predictions``; by default pixels."""
    box_format: str | None = None
    """Format of the boxes in ``predictions``; by default xyxy, and boxes called ``bbox`` are an error."""
    recorded: str | None = None
    """File of recorded detections to evaluate without a data set."""
    probes: bool = False
    """Rerun every method with empty, shuffled and swapped expressions."""
    seed: int = 0
    """Seed of the probes."""
    fit_threshold: str | None = None
    """Split on which the score below which a method says that nothing fits is fitted, for each method with scores:
    at most 2 % of the expressions with a target are refused. It must not be the evaluated split."""
    calibrate: str | None = None
    """Split on which the temperature of the scores is fitted; ``results.json`` gets the calibration error before and
    after. It must not be the evaluated split."""
    fresh: bool = False
    """Delete earlier predictions."""
    retry_failures: bool = False
    """Retry queries that failed in earlier runs."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Method -> its options, from ``METHOD.KEY=VALUE``. Several numbers, e.g. ``diffusion.steps=1,2,4``, give one row
    each: ``diffusion[steps=1]``."""
    command: str = ""
    """Command line, for ``results.json``."""
    runner: str = "local"
    """Runner of the methods: ``local``, or ``ray`` with several processes. Predictions do not depend on it, so
    another runner can resume a run."""
    workers: int = 0
    """Number of processes of the runner; 0: one per CPU."""

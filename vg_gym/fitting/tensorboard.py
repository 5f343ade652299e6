"""TensorBoard entries of a run besides its curves: its config as text, and its hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from vg_gym.config import leaves, to_yaml


def describe_run(writer: SummaryWriter, config: Any, metrics: Sequence[str]) -> None:
    """Write the config of a run under TEXT, and its options under HPARAMS.

    Args:
        writer: writer of the run's folder.
        config: dataclass of the run's options.
        metrics: tags of the curves whose last values HPARAMS shows next to the options.
    """
    writer.add_text("config", f"```yaml\n{to_yaml(config)}```")
    for summary in hparams(dict(flat(asdict(config))), dict.fromkeys(metrics, 0.0)):
        writer._get_file_writer().add_summary(summary)  # add_hparams would open another run
    writer.flush()


def flat(options: Mapping[str, Any]) -> Iterator[tuple[str, bool | int | float | str]]:
    """Yield the names and values of nested options in the types that HPARAMS accepts.

    >>> dict(flat({"seed": 1, "clone": {"minutes": None}, "betas": (0.9, 0.99)}))
    {'seed': 1, 'clone.minutes': 'None', 'betas': '(0.9, 0.99)'}
    """
    for name, value in leaves(options):
        yield name, value if isinstance(value, (bool, int, float, str)) else str(value)

"""``train_grounder.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vg_gym.cli.run import configured
from vg_gym.learned.grounder_learner import GrounderConfig, train_grounder


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a grounding network.

    Args:
        arguments: YAML files and ``key=value`` of :class:`GrounderConfig`; by default those of the command line.
    """
    config = configured(GrounderConfig, sys.argv[1:] if arguments is None else arguments)
    print(f"grounder in {train_grounder(config)}")

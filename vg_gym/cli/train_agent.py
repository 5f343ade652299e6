"""``train_agent.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.config import TrainConfig
from vg_gym.agents.seen import first_blind
from vg_gym.cli.evaluate import command_of
from vg_gym.cli.run import configured
from vg_gym.errors import Interrupted
from vg_gym.evaluation.comparison import Comparison
from vg_gym.fitting.splits import options_of_all_splits


def main(arguments: Sequence[str] | None = None) -> None:
    """Train an agent, then compare it with the baselines and its upper bound.

    Args:
        arguments: YAML files and ``key=value`` of :class:`TrainConfig`; by default those of the command line.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    trainer = AgentTrainer(configured(TrainConfig, arguments))
    trainer.run()
    has_table = trainer.finished and (trainer.out / "test" / "results.json").is_file()
    if trainer.config.test_samples and not has_table:
        _compare(_comparison(trainer, "python train_agent.py " + " ".join(arguments)))
    print(f"run: {trainer.out}   episodes: {trainer.out}/trajectories.png   curves: tensorboard --logdir runs")


def _compare(comparison: Comparison) -> None:
    """Run the comparison; if it is interrupted, name the command that resumes it, since the agent is already saved."""
    try:
        comparison.run()
    except (KeyboardInterrupt, Interrupted):
        resume = command_of(comparison)
        raise Interrupted(f"interrupted; the agent is trained and saved; resume its table with: {resume}") from None


def _comparison(trainer: AgentTrainer, command: str) -> Comparison:
    config = trainer.config
    box = first_blind(config.initial_box)
    return Comparison(
        methods=[f"agent:{trainer.out}", "action-oracle"],
        out=str(trainer.out / "test"),
        dataset=config.dataset,
        split=config.test_split,
        root=config.root,
        dataset_options=options_of_all_splits(config.dataset, config.dataset_options),
        train_split=config.train_split,
        clip=config.clip,
        limit=config.test_samples,
        fresh=True,
        options={} if box == "full" else {"agent": {"initial_box": box}},  # a box that the user typed may be code
        command=command,
    )

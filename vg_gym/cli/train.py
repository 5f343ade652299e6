"""``vg-gym train agent``, ``grounder``, ``presence``, ``detector``, ``clip``: the training scripts, in any folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vg_gym.cli.evaluate import command_of
from vg_gym.cli.run import configured
from vg_gym.config import is_pair, packaged_configs
from vg_gym.errors import Interrupted, VGGymError
from vg_gym.registry.specs import load_object

if TYPE_CHECKING:
    from pathlib import Path

    from vg_gym.agents.agent_trainer import AgentTrainer
    from vg_gym.agents.config import TrainConfig
    from vg_gym.evaluation.comparison import Comparison

TRAININGS = {
    "agent": "train an agent that moves a box, then compare it with baselines",
    "grounder": "train MDETR, TransVG, Dynamic MDETR, RED or box diffusion",
    "presence": "train the head that tells whether a grounder's expression means anything",
    "detector": "train a small object detector",
    "clip": "fine-tune a CLIP, or train one from scratch",
}
"""Name of a training -> its description."""
NO_CROP_METRICS = "none"
"""Name of the CLIP that leaves the crop metrics out of a table; they take longer than the agent's answers."""
AGENT = "vg_gym.agents.config:TrainConfig"
"""Path of the options of the training of an agent."""
MODELS = {
    "grounder": ("vg_gym.learned.grounder_learner:GrounderConfig", "vg_gym.learned.grounder_learner:train_grounder"),
    "presence": (
        "vg_gym.learned.presence_learner:PresenceConfig",
        "vg_gym.learned.presence_learner:train_presence",
    ),
    "detector": (
        "vg_gym.baselines.detectors.detector_learner:DetectorConfig",
        "vg_gym.baselines.detectors.detector_learner:train_detector",
    ),
    "clip": ("vg_gym.clip.finetuning.config:ClipTrainConfig", "vg_gym.clip.finetuning.learners:train_clip"),
}
"""Name of a training of a model -> paths of its options and of the function that trains."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``; :func:`main` parses its arguments, including ``--help``."""
    about = "Train an agent, a grounder, a detector or a CLIP"
    parser = commands.add_parser("train", help=f"t{about[1:]}", description=f"{about}.")
    kinds = parser.add_subparsers(required=True, metavar="WHAT", help="`vg-gym train WHAT --help` lists every option")
    for what, about in TRAININGS.items():
        kinds.add_parser(what, help=about, add_help=False)


def main(what: str, arguments: Sequence[str] | None = None) -> None:
    """Train a model from YAML files and ``key=value``, by default those of the command line.

    Args:
        what: a key of :data:`TRAININGS`.
        arguments: arguments of :func:`vg_gym.config.load_config`, or ``--help``.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if what == "agent":
        _train_agent(arguments)
        return
    schema, train = map(load_object, MODELS[what])
    _refuse_configs_of_others(what, schema, arguments)
    print(f"{'CLIP' if what == 'clip' else what} in {train(configured(schema, arguments))}")


def _refuse_configs_of_others(what: str, schema: type, arguments: Sequence[str]) -> None:
    """Raise an error for a configuration of the package that belongs to another training."""
    own, packaged = packaged_configs(schema), packaged_configs()
    for name in (Path(argument).stem for argument in arguments if not is_pair(argument)):
        if name in packaged and name not in own:
            schemas = {"agent": AGENT, **{other: path for other, (path, _) in MODELS.items()}}
            owner = next(other for other, path in schemas.items() if name in packaged_configs(load_object(path)))
            raise VGGymError(f"{name} is a configuration of another training than {what}: vg-gym train {owner} {name}")


def _train_agent(arguments: Sequence[str]) -> None:
    """Train an agent, then compare it with the baselines and its upper bound."""
    from vg_gym.agents.agent_trainer import AgentTrainer
    from vg_gym.agents.config import TrainConfig
    from vg_gym.agents.plan import TABLE

    _refuse_configs_of_others("agent", TrainConfig, arguments)
    trainer = AgentTrainer(configured(TrainConfig, arguments))
    trainer.run()
    has_table = trainer.finished and (trainer.out / "test" / "results.json").is_file()
    if trainer.config.test_samples and not has_table:
        with trainer.stages.running(TABLE):
            _compare(_comparison(trainer, "python train_agent.py " + " ".join(arguments)), trainer.config.plugins)
    print(f"took {trainer.stages.report()}")
    print(f"run: {trainer.out}   episodes: {trainer.out}/trajectories.png   curves: tensorboard --logdir {trainer.out}")
    print(f"next: {_next(trainer.config, trainer.out)}")


def _next(config: TrainConfig, out: Path) -> str:
    """Return the command that compares the agent with the pipeline that is most like it."""
    words = ["vg-gym", "evaluate", "--methods", f"ssd-clip,agent:{out}", "--dataset", config.dataset]
    words += ["--root", config.root] if config.root else []
    return shlex.join([*words, "--split", config.test_split, "--limit", "200", "--out", f"{out}/compared"])


def _compare(comparison: Comparison, plugins: str) -> None:
    """Run the comparison; if it is interrupted, name the command that resumes it, since the agent is already saved."""
    try:
        comparison.run()
    except (KeyboardInterrupt, Interrupted):
        resume = command_of(comparison, plugins)
        raise Interrupted(f"interrupted; the agent is trained and saved; resume its table with: {resume}") from None


def _comparison(trainer: AgentTrainer, command: str) -> Comparison:
    from vg_gym.agents.supervision import first_blind
    from vg_gym.evaluation.comparison import Comparison
    from vg_gym.fitting.splits import options_of_all_splits

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
        clip=NO_CROP_METRICS,
        limit=config.test_samples,
        fresh=True,
        options={} if box == "full" else {"agent": {"initial_box": box}},  # a box that the user typed may be code
        command=command,
    )

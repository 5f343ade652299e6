"""All that the programs import; a process that has it is forked in a moment (:mod:`tests.hostile.kills`)."""

import transformers  # noqa: F401

import vg_gym.agents.agent_trainer
import vg_gym.baselines.detectors.detector_learner
import vg_gym.cli.entry
import vg_gym.clip.finetuning.clip_learner
import vg_gym.evaluation.comparison
import vg_gym.features.command
import vg_gym.features.edge_maps
import vg_gym.features.query_proposals
import vg_gym.learned.grounder_learner
import vg_gym.pictures.ground  # noqa: F401

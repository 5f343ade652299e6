"""State of a training run, and its checkpoints: step, weights, their moving average, the optimiser's moments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vg_gym.errors import VGGymError
from vg_gym.storage.files import replacing, write_json
from vg_gym.storage.tensor_files import read_tensors


class TrainingState:
    """State of a run, with its files in ``OUT``.

    Args:
        out: folder of the run.
        module: trained module.
        optimizer: optimiser of the module's parameters.
        ema: decay of the moving average of the weights (0: no average).
    """

    def __init__(self, out: Path, module: nn.Module, optimizer: torch.optim.Optimizer, ema: float):
        self.out, self.module, self.optimizer = out, module, optimizer
        self.average = moving_average(module, ema) if ema else None
        self.step, self.best = 0, -math.inf
        self.keep_random_state()

    @property
    def result(self) -> nn.Module:
        """Module for validation and saving: the moving average, or else the trained module itself."""
        return self.average.module if self.average else self.module

    def keep_random_state(self) -> None:
        """Store the state of torch's random generators; a resumed run then draws the same numbers, e.g. for dropout."""
        self.random_states = [torch.get_rng_state()]
        if torch.cuda.is_available():
            self.random_states.append(torch.cuda.get_rng_state())

    def save(self) -> None:
        """Write ``checkpoint.pt``, from which a run resumes."""
        content = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
            "random": self.random_states,
        }
        with replacing(self.out / "checkpoint.pt") as part, part.open("wb") as file:
            torch.save(content, file)

    def load(self, device: torch.device) -> None:
        """Restore the state from ``checkpoint.pt``.

        Raises:
            VGGymError: the file is missing, damaged or of another model.
        """
        path = self.out / "checkpoint.pt"
        if not path.is_file():
            raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out=")
        content = read_tensors(path, device, "start again with fresh=true")
        try:
            self.module.load_state_dict(content["module"])
            if self.average:
                self.average.load_state_dict(content["average"])
            self._load_moments(content["optimizer"])
            self.step, self.best = int(content["step"]), float(content["best"])
            setters = (torch.set_rng_state, torch.cuda.set_rng_state)
            for state, restore in zip(content.get("random", []), setters[: len(self.random_states)], strict=False):
                restore(state.cpu())
            self.keep_random_state()
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise VGGymError(f"{path} is of another model, or damaged: {reason}; use another out=") from error

    def _load_moments(self, content: dict[str, Any]) -> None:
        # Learning rate, decay and betas come from this run's config.
        groups = zip(self.optimizer.state_dict()["param_groups"], content["param_groups"], strict=True)
        param_groups = [{**group, "params": saved["params"]} for group, saved in groups]
        self.optimizer.load_state_dict({"state": content["state"], "param_groups": param_groups})

    def keep_if_best(self, figures: dict[str, float], metric: str) -> None:
        """Write ``best.safetensors`` and ``report.json`` if no earlier validation was better.

        Raises:
            VGGymError: the metric is not finite, so that the weights cannot be judged.
        """
        if not math.isfinite(figures[metric]):
            value, remedy = figures[metric], "lower learning_rate and start again"
            raise VGGymError(f"{metric} of validation is {value} at step {self.step}; {remedy}")
        if figures[metric] >= self.best:
            self.best = figures[metric]
            state = self.result.state_dict()
            # safetensors rejects tied weights that are not cloned, and other memory formats
            weights = {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}
            with replacing(self.out / "best.safetensors") as part:
                save_file(weights, part)
            write_json(self.out / "report.json", {"step": self.step, **figures})

    def best_module(self) -> nn.Module:
        """Return the module with the best weights by validation, in eval mode.

        Raises:
            VGGymError: ``best.safetensors`` is missing, damaged or of another model.
        """
        path = self.out / "best.safetensors"
        try:
            self.result.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise VGGymError(f"{path} is missing, damaged or of another model ({reason}); use fresh=true") from error
        return self.result.eval()


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of weights and buffers that starts at the module's current values.

    The decay grows to ``decay`` over the first updates, so that the average soon forgets the random initial weights.
    """

    def blend(means: Any, values: Any, updates: torch.Tensor | int) -> None:
        if means[0].is_floating_point():
            young = (1 + int(updates)) / (10 + int(updates))
            get_ema_multi_avg_fn(min(decay, young))(means, values, updates)
        else:
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)

    average = AveragedModel(module, multi_avg_fn=blend, use_buffers=True).eval()
    average.update_parameters(module)  # the first update copies the weights
    return average

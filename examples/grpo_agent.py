"""GRPO for a vision-language model that acts in the environment with tools, in TRL's trainer.

Requires pip install "vg_gym[trl]".

    python examples/grpo_agent.py --model Qwen/Qwen3-VL-4B-Instruct --dataset refcocog-umd --root /data/refcocog
    python examples/grpo_agent.py --model Qwen/Qwen3-VL-4B-Instruct --vllm colocate     # generates with vLLM
    python examples/grpo_agent.py --tiny --steps 3                # a tiny random model, built here, on two cores
    python experiments/agent_curves.py --out results/agent        # the same model, warmed up and trained

The model calls move, place, zoom and stop (and this_one and nothing with --targets any) until the box fits; the reward
is the return of the episode. TRL needs a chat template with tools, e.g. that of Qwen3-VL; Qwen2.5-VL's has none. With
--vllm server start ``trl vllm-serve --model NAME`` first. Curves: tensorboard --logdir runs.
"""

import argparse
import sys
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig, GRPOTrainer

from vg_gym import registry
from vg_gym.language_models.grounding_tools import tools_of

TOKENS_OF_A_TURN = {"all": 400, "first": 120}
"""Number of tokens for the call and the answer of a turn; a picture of 512 pixels takes up to 256 of them."""


def final_iou(environments, **columns):
    """Return the IoU of the last box of each conversation."""
    return [env.info["iou"] for env in environments]


def finished(environments, **columns):
    """Return 1.0 for each conversation that ended its episode."""
    return [float(env.is_over) for env in environments]


def parser():
    """Return the parser of the options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", help="name on the hub, or a folder")
    p.add_argument("--tiny", action="store_true", help="a tiny random model instead")
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--root", help="folder of the data set on disk")
    p.add_argument("--targets", default="one", help="one, or any for expressions that mean none or several objects")
    p.add_argument("--reward", default="iou", help="potential of the reward: iou, clip or clip+iou")
    p.add_argument("--clip", help="CLIP of the environment; a reward of iou alone does not depend on it")
    p.add_argument("--limit", type=int, default=1000, help="number of training expressions")
    p.add_argument("--turns", type=int, default=6, help="largest number of calls in a conversation")
    p.add_argument("--pictures", default="all", help="all, or first for answers in text after the first picture")
    p.add_argument("--size", type=int, default=512, help="longer side of the pictures in pixels")
    p.add_argument("--steps", type=int, default=1000)
    p.add_argument("--group", type=int, default=8, help="number of conversations from each start")
    p.add_argument("--prompts", type=int, default=1, help="number of starts in a step")
    p.add_argument("--length", type=int, help="tokens of a conversation after the first message, pictures included")
    p.add_argument("--lr", type=float, default=1e-6)
    p.add_argument("--vllm", choices=("colocate", "server"), help="generate with vLLM (pip install vllm)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", default="runs/grpo-agent")
    return p


def make_trainer(options, model, processor, dataset, held_out=(), reward_funcs=()):
    """Return the trainer; rewards in ``reward_funcs`` are logged and do not count.

    Args:
        options: the options of :func:`parser`.
        model: model.
        processor: its processor.
        dataset: data set or samples.
        held_out: numbers of the samples for ``trainer.evaluate()``; the first ``options.limit`` are for training.
        reward_funcs: more functions with TRL's signature.
    """
    logged = [final_iou, finished, *reward_funcs]
    config = GRPOConfig(
        output_dir=options.out, max_steps=options.steps, num_generations=options.group, learning_rate=options.lr,
        per_device_train_batch_size=options.group * options.prompts, per_device_eval_batch_size=64,
        num_generations_eval=2,
        max_completion_length=options.length or options.turns * TOKENS_OF_A_TURN[options.pictures],
        max_tool_calling_iterations=options.turns, reward_weights=[0.0] * len(logged), seed=options.seed,
        use_vllm=bool(options.vllm), vllm_mode=options.vllm or "colocate", logging_steps=1, report_to="tensorboard",
        save_strategy="no", bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    return GRPOTrainer(
        model,
        reward_funcs=logged,
        args=config,
        train_dataset=rows_of(range(min(options.limit, len(dataset)))),
        eval_dataset=rows_of(held_out) if len(held_out) else None,
        processing_class=processor,
        environment_factory=tools_of(
            dataset=dataset, targets=options.targets, reward=options.reward, max_steps=options.turns, min_steps=1,
            size=options.size, pictures=options.pictures, clip=options.clip,
        ),
    )  # fmt: skip


def rows_of(indices):
    """Return rows for the trainer; ``reset`` of the environment adds the first picture and the task to the prompt."""
    return Dataset.from_list([{"prompt": [{"role": "user", "content": ""}], "index": index} for index in indices])


def main(arguments=None):
    """Train, save the model, and return the log."""
    options = parser().parse_args(arguments)
    if options.tiny:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from experiments import tiny_agent

        options.size, options.pictures = tiny_agent.SIDE, "first"
        model, processor = tiny_agent.make(seed=options.seed)
    else:
        model = AutoModelForImageTextToText.from_pretrained(options.model, use_safetensors=True)
        processor = AutoProcessor.from_pretrained(options.model, padding_side="left")
    trainer = make_trainer(options, model, processor, registry.open_dataset(options.dataset, "train", options.root))
    trainer.train()
    trainer.save_model(options.out)
    return trainer.state.log_history


if __name__ == "__main__":
    main()

"""GRPO for a vision-language model: rewards of vg_gym in TRL's trainer. Needs: pip install "vg_gym[trl]".

    python examples/grpo_vlm.py --model Qwen/Qwen2.5-VL-3B-Instruct --dataset refcocog-umd --root /data/refcocog
    python examples/grpo_vlm.py --model /folder/of/a/model --steps 100 --out runs/grpo
    python experiments/grpo_curves.py --out results/grpo      # a tiny model, made and trained on two cores

The model says boxes in thousandths of the image's sides, which is asked for in the prompt; the reward is the IoU of the
box and a half more for an answer of the right form. Curves: tensorboard --logdir runs.
"""

import argparse

from datasets import Dataset, Features, Image, List, Value
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig, GRPOTrainer

from vg_gym import registry
from vg_gym.chat import PROMPT, to_chat_dataset
from vg_gym.rewards import format_reward, iou_reward

NUMBERS = List(Value("float32"))
FEATURES = Features(
    {"prompt": List({"role": Value("string"), "content": Value("string")}), "image": Image(), "box": NUMBERS,
     "size": List(Value("int32")), "frame": Value("string"), "expression": Value("string")}
)  # fmt: skip
"""Columns that the trainer and the rewards read."""


def rows_of(chat):
    """Rows as TRL takes them: it puts the image into the prompt itself."""
    for row in chat:
        asked = row["prompt"][0]["content"][-1]["text"]
        yield {name: row[name] for name in FEATURES if name != "prompt"} | {
            "prompt": [{"role": "user", "content": asked}]
        }


def main(arguments=None):
    """Train, write the model, and return what was logged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a name on the hub, or a folder")
    parser.add_argument("--dataset", default="refshapes")
    parser.add_argument("--root", help="folder of a data set on disk")
    parser.add_argument("--limit", type=int, default=1000, help="expressions of train")
    parser.add_argument("--frame", default="0-1000", help="in which boxes are to be said")
    parser.add_argument("--prompt", default=PROMPT, help="with {expression}, {form} and {unit} (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--group", type=int, default=8, help="answers to each prompt")
    parser.add_argument("--prompts", type=int, default=1, help="at a step")
    parser.add_argument("--length", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--lr", type=float, default=1e-6)
    parser.add_argument("--schedule", default="linear", help="of the learning rate, as in transformers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/grpo")
    options = parser.parse_args(arguments)
    samples = registry.open_dataset(options.dataset, "train", options.root)
    chat = to_chat_dataset(samples, options.frame, prompt=options.prompt, limit=options.limit)
    config = GRPOConfig(
        output_dir=options.out, max_steps=options.steps, num_generations=options.group, learning_rate=options.lr,
        per_device_train_batch_size=options.group * options.prompts, max_completion_length=options.length,
        lr_scheduler_type=options.schedule, seed=options.seed,
        reward_weights=[1.0, 0.5], logging_steps=1, report_to="tensorboard", save_strategy="no", bf16=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        AutoModelForImageTextToText.from_pretrained(options.model, use_safetensors=True),
        reward_funcs=[iou_reward, format_reward],
        args=config,
        train_dataset=Dataset.from_list(list(rows_of(chat)), features=FEATURES),
        processing_class=AutoProcessor.from_pretrained(options.model, padding_side="left"),
    )
    trainer.train()
    trainer.save_model(options.out)
    return trainer.state.log_history


if __name__ == "__main__":
    main()

"""GRPO for a vision-language model with vg_gym's rewards in TRL's trainer. Requires pip install "vg_gym[trl]".

    python examples/grpo_vlm.py --model Qwen/Qwen2.5-VL-3B-Instruct --dataset refcocog-umd --root /data/refcocog
    python examples/grpo_vlm.py --model /folder/of/a/model --steps 100 --out runs/grpo
    python experiments/grpo_curves.py --out results/grpo      # a tiny model, built and trained on two cores

The prompt asks for boxes in thousandths of the image's sides. The reward is the IoU of the box, plus 0.5 for an answer
in the right format. Curves: tensorboard --logdir runs.
"""

import argparse

from datasets import Dataset, Features, Image, List, Value
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig, GRPOTrainer

from vg_gym import registry
from vg_gym.language_models.chat import PROMPT, to_chat_dataset
from vg_gym.language_models.text_rewards import format_reward, iou_reward

NUMBERS = List(Value("float32"))
FEATURES = Features(
    {"prompt": List({"role": Value("string"), "content": Value("string")}), "image": Image(), "box": NUMBERS,
     "size": List(Value("int32")), "frame": Value("string"), "expression": Value("string")}
)  # fmt: skip
"""Columns for the trainer and the rewards."""


def rows_of(chat):
    """Return rows for TRL, which inserts the image into the prompt itself."""
    for row in chat:
        prompt = row["prompt"][0]["content"][-1]["text"]
        yield {name: row[name] for name in FEATURES if name != "prompt"} | {
            "prompt": [{"role": "user", "content": prompt}]
        }


def main(arguments=None):
    """Train, save the model, and return the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name on the hub, or a folder")
    parser.add_argument("--dataset", default="refshapes")
    parser.add_argument("--root", help="folder of the data set on disk")
    parser.add_argument("--limit", type=int, default=1000, help="number of training expressions")
    parser.add_argument("--frame", default="0-1000", help="coordinate frame of the boxes in answers")
    parser.add_argument(
        "--prompt", default=PROMPT, help="prompt with {expression}, {form} and {unit} (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--group", type=int, default=8, help="number of answers to each prompt")
    parser.add_argument("--prompts", type=int, default=1, help="number of prompts in a step")
    parser.add_argument("--length", type=int, default=64, help="largest number of tokens of an answer")
    parser.add_argument("--lr", type=float, default=1e-6)
    parser.add_argument("--schedule", default="linear", help="schedule of the learning rate, as in transformers")
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

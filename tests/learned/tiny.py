"""Sizes of a network that is built in no time."""

TINY = {"backbone": "frozen", "image_size": 128, "stride": 16, "dim": 32, "heads": 2, "feedforward": 32,
        "visual_layers": 0, "joint_layers": 1, "dropout": 0.0, "tokenizer": "clip", "max_tokens": 16}  # fmt: skip

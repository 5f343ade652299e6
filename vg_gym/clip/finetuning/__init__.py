"""CLIP fine-tuning for ``train_clip.py``: batches, losses, validation."""

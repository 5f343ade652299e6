"""What ``train_clip.py`` trains: batches, losses, validation."""

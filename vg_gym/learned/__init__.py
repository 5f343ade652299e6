"""What trained grounders share, whatever room their network is in: batches, words, checkpoints, training."""

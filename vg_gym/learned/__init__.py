"""What trained grounders share, whatever room their network is in: batches, tokens, weights, training."""

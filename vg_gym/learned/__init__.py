"""Shared parts of all trained grounders: batches, tokens, weights, training."""

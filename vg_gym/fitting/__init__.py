"""Training loop of all models that learn from batches."""

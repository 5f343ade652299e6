"""One training loop for whatever learns from batches."""

"""Evaluation: metrics, the evaluator, bias probes, recorded predictions and detections, and the report."""

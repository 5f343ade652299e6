"""One-stage grounders: networks that read the expression while they look."""

"""RefShapes: flat shapes, drawn instantly, for tests and a first start."""

"""One-stage grounders: networks that take image and expression together and give a box, without proposals."""

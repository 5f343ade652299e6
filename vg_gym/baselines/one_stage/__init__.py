"""One-stage grounders: networks that predict a box from image and expression together, without proposals."""

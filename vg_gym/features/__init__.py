"""CLIP's features of a whole data set: the store, how it is made, score maps."""

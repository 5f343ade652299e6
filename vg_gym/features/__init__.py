"""CLIP's features of a whole data set: the feature store, its extraction, and score maps."""

"""CLIP scores of boxes: from dense features, from crops, or from a lattice of crops.

Scores use values from three places:

- ``FeatureBank.images`` holds summed-area tables of dense features, computed once per image.
- ``FeatureBank.scores`` holds the output of :meth:`Scorer.query_scores` of the chosen scorer, computed once per query.
- :meth:`Scorer.score` runs in every step. It looks these values up, or encodes crops.
"""

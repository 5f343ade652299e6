"""How the CLIP score of a box is computed: from dense features, from crops, on a lattice.

- Once per image, kept in ``FeatureBank.images``: summed-area tables of dense features.
- Once per query, kept in ``FeatureBank.scores``: what :meth:`Scorer.query_scores` of the chosen scorer computes.
- At every step: :meth:`Scorer.score`, which looks these up, or encodes.
"""

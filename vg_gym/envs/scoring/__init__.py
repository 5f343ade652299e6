"""How the CLIP score of a box is computed: from dense features, from crops, on a lattice."""

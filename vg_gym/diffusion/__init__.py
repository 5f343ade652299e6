"""Box diffusion: noise schedules, samplers, two box denoisers, and the grounders built from them."""

"""Boxes by denoising: noise schedules, samplers, two box denoisers, and the grounders made of them."""

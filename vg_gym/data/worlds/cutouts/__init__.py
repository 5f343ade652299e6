"""Flat scenes out of cut-outs of a user, with the language of RefScenes."""

"""The command ``vg-gym`` and what the scripts at the top run."""

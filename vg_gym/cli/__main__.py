"""``python -m vg_gym.cli``."""

from vg_gym.cli.entry import main

main()

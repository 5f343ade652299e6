"""The command ``vg-gym``, and the functions of the scripts in the repository's root."""

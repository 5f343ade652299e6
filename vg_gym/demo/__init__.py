"""The demo: a page in the browser where methods are asked, ``vg-gym demo``."""

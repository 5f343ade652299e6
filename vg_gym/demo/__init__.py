"""Demo: a web page on which people try methods, ``vg-gym demo``."""

"""Studies and side-by-side timings that are run by hand, each a script with a ``main``."""

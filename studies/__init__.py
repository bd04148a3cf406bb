"""Science that feeds the book and takes too long for it: ``make study``."""

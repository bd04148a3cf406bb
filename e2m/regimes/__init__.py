"""Training regimes: one file each, named as the parameter value; they differ in nothing but the loss.

A file holds ``LABEL`` and ``COLOUR``, by which figures show the regime (one colour a regime throughout the book),
``GUIDED`` (does the loss read human salience?) and ``loss(seen: e2m.training.Seen, **settings) -> Tensor``.
"""

"""The five measures, one file each: the file's name is the measure's name.

A measure's file opens with its constants, which notebooks and tables read:

* ``TITLE`` and ``LETTER``: its name and its letter in the paper, "Entropy" and "a";
* ``QUESTION`` and ``BLIND_SPOT``: one sentence each, what it asks and what it cannot see;
* ``BETTER``: for each variant, which way is better: "lower", "higher" or "closer to clean";
* ``PAPER_EXACT``: the variants that follow the paper, the others being corrections or controls;
* ``AXIS``: what figures write along the axis, with the unit.

Then comes the measure's pure function, arrays in and arrays or tidy rows out, with helpers below it. Measures that
change the images offer ``perturbations(...)``, a list of ``e2m.types.Perturbation``. No measure imports torch or
another measure.
"""

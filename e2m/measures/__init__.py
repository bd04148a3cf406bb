"""The five measures and more, one file each: the file's name is the measure's name.

A measure's file opens with its constants, which notebooks and tables read:

* ``TITLE`` and ``LETTER``: its name and its letter in the paper, "Entropy" and "a";
* ``QUESTION`` and ``BLIND_SPOT``: one sentence each, what it asks and what it cannot see;
* ``BETTER``: for each variant, which way is better: "lower", "higher" or "closer to clean";
* ``PAPER_EXACT``: the variants that follow the paper, the others being corrections or controls;
* ``AXIS``: what figures write along the axis, with the unit.

Then comes the measure's pure function, arrays in and arrays or tidy rows out, with helpers below it. What the
pipeline calls is one of

* ``measure(maps)``: clean maps (N, h, w) -> variant -> (N,) values;
* ``with_human(maps, human)``: the same beside human maps of the same images and size;
* ``with_region(maps, regions, correct=...)``: the same beside true regions, (N, H, W) bool at the images' size;
* ``perturbations(images, maps, **settings)``: yields ``e2m.types.Perturbation``, the images changed in one way after
  the other;
* a function of the file's own name, maps (R, N, h, w) of several runs -> tidy rows of pairs of runs.

No measure imports torch or another measure.
"""

"""The five measures and more, one file each: the file's name is the measure's name.

A measure's file opens with its constants, which notebooks and tables read:

* ``TITLE`` and ``LETTER``: its name and its letter in the paper, "Entropy" and "a";
* ``QUESTION`` and ``BLIND_SPOT``: one sentence each, what the measure asks and what it cannot see;
* ``BETTER``: for each variant, which way is better: "lower", "higher" or "closer to clean";
* ``RANGE``: for each variant that has one, its least and largest value, which no interval leaves;
* ``PAPER_EXACT``: the variants that follow the paper; the others are corrections or reference regions;
* ``AXIS``: the label of the axis in figures, with the unit;
* ``LEVEL``: what a level is, with the unit, if levels are numbers; the explorer labels them with it;
* ``HEADLINES``: the quantities by which the measure stands beside the others (``e2m.types.Headline``).

Then comes the measure's pure function, arrays in and arrays or tidy rows out, with helpers below it. The pipeline
calls one of

* ``measure(maps)``: clean maps (N, h, w) -> variant -> (N,) values;
* ``with_human(maps, human)``: the same beside human maps of the same images and size;
* ``with_region(maps, regions, correct=...)``: the same beside true regions, (N, H, W) bool at the images' size;
* ``perturbations(images, maps, **settings)``: yields one ``e2m.types.Perturbation`` for each way of
  changing the images; a profile's settings are checked by the annotations of its parameters (``e2m.checks``);
* a function with the file's name, maps (R, N, h, w) of several runs -> tidy rows of pairs of runs.

No measure imports torch or another measure.
"""

"""Seeds that belong to an array."""

import numpy as np

from e2m.arrays.keyed import seed_of


def test_a_seed_belongs_to_the_values_and_the_numbers(random):
    images = random.integers(0, 256, (3, 5, 4, 3), np.uint8)
    seeds = {seed_of(image, *about) for image in images for about in ((), (0,), (1,), (0, 0.1), (0, 0.25))}
    assert len(seeds) == 15
    assert max(seeds) < 2**128
    # Neither the place in memory nor its order counts.
    turned = np.asfortranarray(images[0])
    assert seed_of(turned, 0) == seed_of(images[0].copy(), 0)

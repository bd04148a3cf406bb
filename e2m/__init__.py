"""E2M: five measures that read a face detector's salience maps over a whole test set.

Names are imported on first use, so that ``import e2m`` costs nothing.
"""

import importlib

_HOMES = {
    "Detector": "e2m.types",
    "Explanation": "e2m.types",
    "InputError": "e2m.types",
    "explain": "e2m.salience.engine",
    "load_dataset": "e2m.datasets",
    "load_detector": "e2m.detectors",
    "pair_maps": "e2m.salience.given",
    "read_images": "e2m.arrays.images",
    "read_maps": "e2m.arrays.map_files",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'e2m' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

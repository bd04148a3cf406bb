"""The examples of "Your images, detector and maps", of "Add your own parts", and of short pages work as printed."""

import re
import sys
from importlib import import_module
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from e2m import InputError, load_dataset, plugins
from e2m.store.paths import CHECKOUT
from e2m.training.detector import Batch

# The second page goes on where the first ends.
PAGE = "".join((CHECKOUT / "book" / name).read_text() for name in ("yours.md", "extending.md"))
FILES = dict(re.findall(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def calls(text: str) -> list[str]:
    """The blocks that a reader types."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path, monkeypatch) -> Path:
    """A reader's folder: the files of the page at their paths, and images and maps."""
    for name, code in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    for folder in plugins.KINDS.values():
        package = import_module(f"e2m.{folder}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "e2m" / folder)])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    draw_inputs(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def draw_inputs(folder: Path) -> None:
    random = np.random.default_rng(0)
    names = [
        "faces/real/ffhq/0001.png",
        "faces/fake/stylegan/0001.png",
        "images/real_1.png",
        "images/stylegan_1.png",
    ]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    for run, name in product(("first", "second", "third"), names[:2]):
        for level in (f"maps/{run}", f"maps_of_noisy/{run}/0.1"):
            path = (folder / level / name.removeprefix("faces/")).with_suffix(".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, random.random((7, 7)))


def test_every_kind_of_plug_in_has_an_example():
    kinds = {name.split("/")[1] for name in FILES if name.startswith("e2m/")}
    assert kinds | {"detectors"} == set(plugins.KINDS.values())
    assert "mydetectors.py" in FILES


def test_a_reader_can_type_the_page(reader):
    seen = {}
    for block in calls(PAGE):
        exec(block, seen)
    assert seen["explanation"].maps.shape == (2, 7, 7)
    assert seen["fine"].maps.shape == (2, 224, 224)
    assert not seen["fine"].dead.any()
    assert set(seen["rows"]["level"]) == {"0.5", "0.75", "1.25"}
    assert seen["rows"]["value"].notna().any()
    assert list(seen["samples"]["source"]) == ["real", "stylegan"]


@pytest.mark.parametrize("page", ["README.md", "book/quickstart.md"])
def test_a_reader_can_type_the_short_page(reader, page):
    seen = {}
    for block in calls((CHECKOUT / page).read_text()):
        exec(block, seen)
    assert seen["explanation"].maps.shape == (2, 7, 7)


def test_centre_distance_by_hand(reader):
    measure = plugins.load("measure", "centre_distance").measure
    maps = np.zeros((5, 3, 5))
    maps[0, 0, 0] = 1  # in a corner
    maps[1, 1, 2] = 1  # in the middle
    maps[2, 1, [0, 4]] = 1  # on both sides, its blind spot
    maps[3, 1, 4] = 1  # 2 of sqrt(5) to the right
    maps[4] = 0.5  # dead
    np.testing.assert_allclose(measure(maps)["centre_distance"], [1, 0, 0, 2 / 5**0.5, np.nan])


def test_only_measures_of_pairs_compare_runs(reader):
    """A measure may have a function of its file's name, as the book's example has, and be one of single maps."""
    from e2m.experiment.results import compares_runs

    assert [name for name in plugins.names("measure") if compares_runs(name)] == ["stability"]


def test_light_by_hand(reader):
    (change,) = plugins.load("measure", "light").perturbations(np.full((1, 7, 7, 3), 120, np.uint8), {}, gains=[2.5])
    assert change.level == "2.5"
    assert (change.images == 255).all()
    with pytest.raises(InputError, match="the gain is 0"):
        list(plugins.load("measure", "light").perturbations(change.images, {}, gains=[0]))


def test_the_outside_penalty_by_hand(reader):
    loss = plugins.load("regime", "outside").loss
    features = torch.zeros(1, 1, 2, 2)
    features[0, 0, 0, 0] = 1
    features.requires_grad_()
    weights = torch.tensor([[1.0], [1.0]])
    logits = torch.zeros(1, 2)

    def of(human) -> torch.Tensor:
        return loss(Batch(logits, torch.tensor([0]), features, weights, torch.tensor([human])))

    # Salience is 1 in one cell of four: free where a person looked, a quarter where none did.
    assert of([[1.0, 0.0], [0.0, 0.0]]).item() == pytest.approx(np.log(2))
    away = of([[0.0, 1.0], [0.0, 0.0]])
    assert away.item() == pytest.approx(np.log(2) + 0.25)
    away.backward()
    assert features.grad.abs().sum() > 0


def test_a_data_set_by_name(reader):
    samples = load_dataset("named", root="images")
    assert dict(zip(samples["image"], samples["label"], strict=True)) == {
        "real_1": "authentic",
        "stylegan_1": "synthetic",
    }


def test_measures_present_themselves(reader):
    measures = [plugins.load("measure", name) for name in plugins.names("measure")]
    assert len({measure.LETTER for measure in measures}) == len(measures) > 5
    for measure in measures:
        assert measure.__doc__.startswith(f"Measure ({measure.LETTER})")
        assert measure.QUESTION.endswith("?")
        assert measure.BLIND_SPOT.endswith(".")
        assert set(measure.BETTER.values()) <= {"lower", "higher", "closer to clean"}
        assert set(measure.PAPER_EXACT) <= set(measure.BETTER)
        assert measure.AXIS
        for headline in measure.HEADLINES:
            variants = {
                *measure.BETTER,
                *(("accuracy", "accuracy change", "change") if "score" in measure.BETTER else ()),
            }
            assert headline.variant in variants
            assert headline.better in {"higher", "lower", ""}
        assert measure.TITLE

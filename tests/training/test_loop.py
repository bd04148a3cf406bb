"""The loop by itself, on a trainer that counts: which epoch is kept, what is written, and going on."""

import pytest
import torch
from torch import nn

from e2m.networks.checkpoints import CHECKPOINT_FORMAT, MASKER_FORMAT, read_checkpoint
from e2m.training import loop
from e2m.types import InputError

RANKS = [3, 5, 5, 1]


class Counter(loop.Trainer):
    """Its one weight is the number of epochs that it was trained for."""

    def __init__(self, ranked=True, stop=None, kind=CHECKPOINT_FORMAT):
        self.network, self.ranked, self.stop, self.kind = nn.Linear(1, 1, bias=False), ranked, stop, kind
        nn.init.zeros_(self.network.weight)
        self.seen = []

    def epoch(self, epoch):
        if epoch == self.stop:
            raise KeyboardInterrupt
        self.seen.append(epoch)
        with torch.no_grad():
            self.network.weight += 1
        return {"loss": 1 / (epoch + 1)}

    def validate(self):
        return {"weight": self.network.weight.item()}

    def rank(self, row):
        return [RANKS[row["epoch"]]] if self.ranked else None

    def files(self, path, about, weights, curves):
        content = {**about, "weights": weights, "curves": curves}
        return {path.with_name("beside.pt"): {"format": "beside", **content}, path: {"format": self.kind, **content}}

    def state(self):
        return {"weights": self.network.state_dict()}

    def load(self, state):
        self.network.load_state_dict(state["weights"])

    step = summary = None


def recipe(**changed):
    about = {"detector": "d", "regime": "r", "run": 0, "origin": "o", "settings": {"epochs": 4}}
    return about | changed


def kept(content):
    return content["epoch"], content["weights"]["weight"].item(), [row.get("kept") for row in content["curves"]]


def test_the_last_of_the_best_epochs_is_kept(tmp_path):
    content = loop.run(Counter, tmp_path / "a.pt", recipe(), progress=False)
    assert kept(content) == (2, 3, [False, False, True, False])
    assert [row["weight"] for row in content["curves"]] == [1, 2, 3, 4]


def test_the_last_epoch_is_kept_where_none_ranks_higher(tmp_path):
    content = loop.run(lambda: Counter(ranked=False), tmp_path / "a.pt", recipe(), progress=False)
    assert kept(content) == (3, 4, [None] * 4)


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_going_on_writes_the_same_files(tmp_path, ranked, stop):
    whole, broken = tmp_path / "whole" / "a.pt", tmp_path / "broken" / "a.pt"
    loop.run(lambda: Counter(ranked), whole, recipe(), progress=False)
    with pytest.raises(KeyboardInterrupt):
        loop.run(lambda: Counter(ranked, stop), broken, recipe(), progress=False)
    assert not broken.exists()
    assert broken.with_suffix(".resume").is_file() == (stop > 0)
    trainer = Counter(ranked)
    loop.run(lambda: trainer, broken, recipe(), progress=False)
    assert trainer.seen == list(range(stop, 4))
    names = ["a.pt", "beside.pt"]
    for folder in (whole.parent, broken.parent):
        assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (whole.parent / name).read_bytes() == (broken.parent / name).read_bytes()


def test_a_finished_file_is_read_and_makes_no_trainer(tmp_path):
    written = loop.run(lambda: Counter(kind=MASKER_FORMAT), tmp_path / "a.pt", recipe(), MASKER_FORMAT, progress=False)
    read = loop.run(lambda: pytest.fail("trained again"), tmp_path / "a.pt", recipe(), MASKER_FORMAT)
    assert read == written == read_checkpoint(tmp_path / "a.pt", MASKER_FORMAT)


@pytest.mark.parametrize(
    "changed", [{"detector": "e"}, {"regime": "s"}, {"run": 1}, {"origin": "p"}, {"settings": {"epochs": 3}}]
)
def test_a_file_of_another_recipe_is_not_taken_for_finished(tmp_path, changed):
    loop.run(Counter, tmp_path / "a.pt", recipe(), progress=False)
    trainer = Counter()
    loop.run(lambda: trainer, tmp_path / "a.pt", recipe(**changed), progress=False)
    assert trainer.seen == list(range(recipe(**changed)["settings"]["epochs"]))


def test_a_file_of_another_kind_is_not_overwritten(tmp_path):
    loop.run(Counter, tmp_path / "a.pt", recipe(), progress=False)
    before = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(InputError, match="not a masker"):
        loop.run(Counter, tmp_path / "a.pt", recipe(), MASKER_FORMAT)
    assert (tmp_path / "a.pt").read_bytes() == before

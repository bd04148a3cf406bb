"""Groups as people name them: natural order, names of runs, and what is refused."""

import pytest

from e2m.audit import groups
from e2m.audit.groups import Group
from e2m.types import InputError


@pytest.fixture
def files(tmp_path):
    """Writes files with different contents below a folder, and returns the folder."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path

    return write


def test_runs_come_in_their_natural_order(files):
    root = files("a_10.pt", "a_2.pt", "a_1.pt", "b_1.pt")
    group = Group.of("A", "toys:build", [f"{root}/a_*.pt"])
    assert group.runs == ("a_1.pt", "a_2.pt", "a_10.pt")
    assert [path.is_absolute() for path in group.weights] == [True] * 3
    assert Group.of("A", "toys:build", group.as_dict()["weights"]) == group


def test_files_of_one_name_are_told_apart_by_their_folders(files):
    root = files("runs/1/best.pt", "runs/2/best.pt")
    assert Group.of("A", "toys:build", [f"{root}/runs/**/best.pt"]).runs == ("1/best.pt", "2/best.pt")


def test_a_network_may_come_with_its_weights():
    group = Group.of("A", "toys:build")
    assert (group.runs, group.weights) == ((groups.BUILT,), ())


def test_what_cannot_be_a_group_is_refused(files):
    root = files("a.pt")
    (root / "copy.pt").write_text("a.pt")
    cases = [
        (("A", "toys:build", [f"{root}/x*.pt"]), r"x\*\.pt: no such file; correct the path, or quote the pattern"),
        (("A", "toys:build", [f"{root}/*.pt"]), r"copy\.pt: the same weights as .*a\.pt; a run that counts twice"),
        (("A", "timm:resnet18", []), "--detector A=timm:resnet18: its weights would be random; add --weights"),
        (("A", "resnet50", []), "its weights would be random"),
        ((" ", "toys:build", []), "the name is ' '; give it one that can be printed"),
        (("A\n", "toys:build", []), r"the name is 'A\\n'"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            Group.of(*arguments)
    with pytest.raises(InputError, match="--detector A= arrived twice"):
        groups.check([Group("A", "x:y"), Group("A", "x:z")])
    with pytest.raises(InputError, match="no detector arrived"):
        groups.check([])

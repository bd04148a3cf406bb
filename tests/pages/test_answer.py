"""The rule of model selection on made-up tables: every branch, and that words follow from numbers."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from e2m.pages import answer
from e2m.types import InputError

HIGHER, NONE, LOWER, UNKNOWN = (0.1, 0.3), (-0.1, 0.2), (-0.4, -0.2), (np.nan, np.nan)
REGIMES = ("cross_entropy", "shuffled_maps", "fixed_map")
NAMES = {"unguided": REGIMES[0], "controls": REGIMES[1:]}
ROLES = {"guided": "cyborg", "traditional": "cross_entropy"}


def differences(*ends, row="(d) SSIM ↑", better="higher", letter="d"):
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(against=REGIMES[: len(ends)], row=row)
    return table.assign(detector="toy", salience="GradCAM", better=better, letter=letter)


def equal(verdict="equal", difference=0.01):
    ends = {"90 % low": difference - 0.02, "90 % high": difference + 0.02}
    return pd.Series({"verdict": verdict, "AUC difference": difference, "margin": 0.05, "note": "", **ends})


# Guidance, or any pull


@pytest.mark.parametrize(
    ("ends", "claimed", "words"),
    [
        ((HIGHER, HIGHER, HIGHER), True, "an effect of guidance: higher than without maps"),
        ((LOWER, LOWER, LOWER), True, "an effect of guidance: lower than without maps"),
        (
            (HIGHER, HIGHER, NONE),
            False,
            "any pull may be the cause: higher than without maps, but not than with one fixed map",
        ),
        ((HIGHER, NONE, NONE), False, "but not than with shuffled maps or one fixed map"),
        ((HIGHER, LOWER, HIGHER), False, "but not than with shuffled maps"),
        ((LOWER, HIGHER, HIGHER), False, "but not than with shuffled maps or one fixed map"),
        ((NONE, HIGHER, HIGHER), False, "no effect shown: higher than with wrong maps, but not than without maps"),
        ((NONE, LOWER, NONE), False, "no effect shown: no clear difference from training without maps"),
        ((NONE, HIGHER, LOWER), False, "no effect shown: no clear difference from training without maps"),
        ((NONE, NONE, NONE), False, "no effect shown: no clear difference from training without maps"),
        ((HIGHER, HIGHER, UNKNOWN), False, "nothing can be said: no interval against one fixed map"),
    ],
)
def test_guidance_is_claimed_only_beyond_every_control(ends, claimed, words):
    (row,) = answer.beyond(differences(*ends), **NAMES).to_dict("records")
    assert row["claimed"] is claimed
    assert words in row["verdict"]


def test_one_control_is_named():
    table = differences(HIGHER, HIGHER)
    (row,) = answer.beyond(table, unguided="cross_entropy", controls=["shuffled_maps"]).to_dict("records")
    assert row["verdict"] == "an effect of guidance: higher than without maps, and than with shuffled maps"


def test_without_controls_nothing_is_claimed():
    higher, none = (
        answer.beyond(differences(ends), unguided="cross_entropy", controls=[]).iloc[0] for ends in (HIGHER, NONE)
    )
    assert (higher["claimed"], higher["sign"], higher["verdict"]) == (False, 1, "higher than without maps; no controls")
    assert (none["claimed"], none["sign"]) == (False, 0)


def test_measures_are_judged_one_by_one_in_their_order():
    table = pd.concat([differences(HIGHER, HIGHER, HIGHER, row=row) for row in ("(e)", "(a)", "(d)")])
    assert answer.beyond(table, **NAMES)["row"].tolist() == ["(e)", "(a)", "(d)"]
    with pytest.raises(InputError, match=r"\(b\): no difference to fixed_map"):
        answer.beyond(pd.concat([table, differences(HIGHER, HIGHER, row="(b)")]), **NAMES)


# By salience method


def test_what_depends_on_the_salience_method_is_counted_and_named():
    ends = {
        "(a) ↓": (LOWER, LOWER, LOWER),
        "(b) ↑": (NONE, NONE, (-0.3, 0.2)),
        "(c) ↑": (HIGHER, NONE, HIGHER),
        "(d) ↑": (HIGHER, LOWER, NONE),
        "(e) ↑": (HIGHER, HIGHER, UNKNOWN),
    }
    rows = [
        (method, "toy", row, sum(pair) / 2, *pair)
        for row, pairs in ends.items()
        for method, pair in zip(("GradCAM", "CAM", "LayerCAM"), pairs, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["salience", "detector", "row", "difference", "low", "high"])
    assert answer.by_method(table) == (
        "Of 5 quantities, 1 differs in the same direction with every method, and 1 with no method. The verdict depends "
        "on the method for 2: (c); (d). Methods contradict each other, with intervals on both sides of 0, for 1: (d). "
        "The means alone differ in the same direction with every method for 2. "
        "Without an interval for some method: 1: (e)."
    )
    alike = answer.by_method(table[table["row"] == "(a) ↓"])
    assert "depends on the method for none. Methods contradict each other, with intervals on both sides" in alike
    assert "(a)" not in alike


# The answer


@pytest.mark.parametrize(
    ("verdict", "difference", "tables", "preferred", "words"),
    [
        # Equally accurate, and what separates the groups favours one of them.
        (
            "equal",
            0.01,
            [differences(HIGHER, HIGHER, HIGHER)],
            "cyborg",
            "CYBORG is preferred: it is as accurate, and better",
        ),
        (
            "equal",
            0.01,
            [differences(LOWER, LOWER, LOWER)],
            "cross_entropy",
            "cross-entropy is preferred: it is as accurate",
        ),
        (
            "equal",
            0.01,
            [differences(LOWER, LOWER, LOWER, row="(a) entropy ↓", better="lower", letter="a")],
            "cyborg",
            "CYBORG is preferred: it is as accurate",
        ),
        # A quantity that separates nothing changes nothing.
        ("equal", 0.01, [differences(HIGHER, HIGHER, HIGHER), differences(LOWER, NONE, NONE, row="(b)")], "cyborg", ""),
        # Nothing beyond the controls.
        ("equal", 0.01, [differences(HIGHER, HIGHER, NONE)], None, "no difference goes beyond what wrong maps do too"),
        ("equal", 0.01, [differences(NONE, NONE, NONE)], None, "no difference goes beyond"),
        ("equal", 0.01, [differences(HIGHER)], None, "no difference goes beyond"),  # no controls
        ("equal", 0.01, [differences(HIGHER, UNKNOWN, HIGHER)], None, "no difference goes beyond"),
        # Accuracy is no measure, and a quantity without a better direction decides nothing.
        ("equal", 0.01, [differences(HIGHER, HIGHER, HIGHER, better="")], None, "no difference goes beyond"),
        ("equal", 0.01, [differences(HIGHER, HIGHER, HIGHER, letter="")], None, "no difference goes beyond"),
        # Contradictions.
        (
            "equal",
            0.01,
            [differences(HIGHER, HIGHER, HIGHER), differences(LOWER, LOWER, LOWER, row="(b) SSIM ↑")],
            None,
            "point in both directions",
        ),
        # Accuracy comes first.
        ("different", 0.08, [differences(LOWER, LOWER, LOWER)], "cyborg", "CYBORG is preferred, because it is more"),
        ("different", -0.08, [differences(HIGHER, HIGHER, HIGHER)], "cross_entropy", "because it is more accurate"),
        ("undecided", 0.04, [differences(HIGHER, HIGHER, HIGHER)], None, "equal accuracy was not shown"),
    ],
)
def test_the_rule(verdict, difference, tables, preferred, words):
    always = differences(NONE, NONE, NONE, row="(c) SSIM ↑")
    always = always[always["against"].isin(tables[0]["against"])]
    result = answer.answer(equal(verdict, difference), pd.concat([*tables, always]), **ROLES)
    assert result.preferred == preferred
    assert words in result.verdict
    assert ("no reason to prefer either" in result.verdict) == (preferred is None)
    for sentence in (result.accuracy, result.measures, result.verdict):
        assert re.fullmatch(r"[^\n]+\.", sentence)


def test_every_detector_has_its_answer():
    rows = pd.concat([differences(HIGHER, HIGHER, HIGHER), differences(NONE, NONE, NONE).assign(detector="other")])
    tested = pd.DataFrame([equal(), equal(), equal("undecided")]).assign(
        detector=["toy", "other", "toy"], source=["swap", "swap", "gan"]
    )
    found = answer.answers(tested, rows, "swap", **ROLES)
    assert {name: result.preferred for name, result in found.items()} == {"toy": "cyborg", "other": None}


def test_the_sentence_on_accuracy_follows_from_the_test():
    said = {verdict: answer.answer(equal(verdict), differences(NONE), **ROLES).accuracy for verdict in (
        *("equal", "different", "undecided"),
    )}  # fmt: skip
    interval = "difference of in-set AUC +0.010, 90 % interval -0.010 to +0.030"
    assert said["equal"] == f"CYBORG and cross-entropy are equally accurate up to a margin of 0.05 ({interval})."
    assert said["different"] == f"CYBORG and cross-entropy are not equally accurate ({interval})."
    assert "neither shown to be equally accurate up to a margin of 0.05 nor to differ" in said["undecided"]
    unknown = equal("undecided").replace({-0.01: np.nan, 0.03: np.nan})
    unknown["90 % low"], unknown["note"] = np.nan, "1 run: no test"
    assert "cannot be tested: 1 run: no test" in answer.answer(unknown, differences(NONE), **ROLES).accuracy


def test_the_sentence_on_measures_counts_and_names():
    rows = {"(a) ↓": (LOWER, LOWER, LOWER), "(b) ↑": (HIGHER, HIGHER, NONE), "(c) ↑": (NONE, NONE, NONE)}
    tables = {row: differences(*ends, row=row) for row, ends in rows.items()}
    kinds = "(shuffled maps, one fixed map)"

    def said(*names):
        return answer.answer(equal(), pd.concat([tables[name] for name in names]), **ROLES).measures

    assert said(*rows) == (
        "2 of 3 quantities of the measures differ between the groups. "
        f"1 of them goes beyond wrong maps {kinds}: (a), lower with CYBORG."
    )
    assert said("(b) ↑", "(c) ↑") == (
        "1 of 2 quantities of the measures differs between the groups. "
        f"None goes beyond what wrong maps do too {kinds}: any pull on the map may be the cause."
    )
    assert said("(c) ↑").startswith("None of 1 quantities of the measures differs between the groups by more than")
    no_controls = pd.concat([tables["(a) ↓"], tables["(c) ↑"]]).query("against == 'cross_entropy'")
    assert "No detectors were trained with wrong maps" in answer.answer(equal(), no_controls, **ROLES).measures
    unknown = differences(UNKNOWN, UNKNOWN, UNKNOWN)
    assert "cannot be compared" in answer.answer(equal(), unknown, **ROLES).measures


def test_random_intervals_never_yield_a_preference_that_a_control_shows_too():
    """Whatever the table: a preferred group differs from all comparators in the direction that is better for it."""
    random = np.random.default_rng(0)
    for ends in product((HIGHER, NONE, LOWER), repeat=3):
        better = random.choice(["higher", "lower"])
        result = answer.answer(equal(), differences(*ends, better=better), **ROLES)
        beyond = len(set(ends)) == 1 and ends[0] is not NONE
        assert (result.preferred is not None) == beyond
        if beyond:
            guided_is_better = (ends[0] is HIGHER) == (better == "higher")
            assert result.preferred == ("cyborg" if guided_is_better else "cross_entropy")

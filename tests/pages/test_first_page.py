"""The first page on made-up tables: verdicts and sentences follow from intervals."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from e2m.pages import figures, first_page

HIGHER, NONE, LOWER, UNKNOWN = (0.1, 0.3), (-0.1, 0.2), (-0.4, -0.2), (np.nan, np.nan)
GROUPS = ("cross_entropy", "shuffled_maps", "fixed_map")
AHEAD = f"; beaten by {figures.regime_label('fixed_map')}"


def differences(*ends, row="(d) SSIM ↑", better="higher", letter="d"):
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(against=GROUPS[: len(ends)], row=row)
    return table.assign(difference=table.mean(axis=1, numeric_only=True), detector="toy", better=better, letter=letter)


def judged(*parts):
    return first_page.judged(pd.concat(parts, ignore_index=True), "cross_entropy", "swap")


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((HIGHER, HIGHER, HIGHER), "guidance helps"),
        ((LOWER, LOWER, LOWER), "guidance harms"),
        ((HIGHER, HIGHER, NONE), "better; any pull may do it"),
        ((HIGHER, NONE, LOWER), "better; any pull may do it" + AHEAD),
        ((LOWER, NONE, HIGHER), "worse; any pull may do it"),
        ((NONE, HIGHER, HIGHER), "no difference shown"),
        ((NONE, NONE, LOWER), "no difference shown" + AHEAD),
        ((HIGHER, HIGHER, UNKNOWN), "cannot be said"),
        ((HIGHER,), "better; any pull may do it"),
    ],
)
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_verdicts_follow_from_intervals_whichever_way_is_better(ends, verdict, better):
    if better == "lower":
        ends = [(-high, -low) for low, high in ends]
    table = judged(differences(*ends, better=better))
    assert set(table["verdict"]) == {verdict}
    assert table["mean"].iloc[0] == pytest.approx(np.mean(ends[0]) * (1 if better == "higher" else -1), nan_ok=True)
    assert ((table["low"] <= table["high"]) | table["low"].isna()).all()


def test_quantities_without_a_better_direction_and_other_aucs_are_left_out():
    auc = differences(NONE, NONE, NONE, row="AUC, swap ↑", letter="")
    other = differences(NONE, NONE, NONE, row="AUC, morph ↑", letter="")
    open_ = differences(HIGHER, HIGHER, HIGHER, row="(x) something", better="", letter="x")
    assert set(judged(auc, other, open_)["row"]) == {"AUC, swap ↑"}


def test_the_sentence_counts_quantities():
    table = judged(
        differences(HIGHER, HIGHER, HIGHER, row="(a) one"),
        differences(HIGHER, NONE, LOWER, row="(b) two"),
        differences(NONE, NONE, LOWER, row="(c) three"),
        differences(NONE, NONE, NONE, row="AUC, swap ↑", letter=""),
    )
    measures = first_page.in_short(table, "cross_entropy", "")
    assert "differ on 2 of 3 quantities, and on 1 of them beyond both" in measures
    assert measures.endswith("one fixed map is shown to do better than guidance on 2.")
    assert len(measures.split()) <= 30


@pytest.mark.parametrize("ends", [(HIGHER, HIGHER), (HIGHER, HIGHER, UNKNOWN)])
def test_without_a_comparison_the_rule_speaks(ends):
    assert first_page.in_short(judged(differences(*ends)), "cross_entropy", "measures") == "measures"


def card(regime="cyborg", mean=0.9, runs=3):
    line = pd.Series({"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "runs": runs, "kind": ""})
    return first_page.Card(regime, runs, np.random.default_rng(0).random((min(runs, 3), 7, 7)), line)


@pytest.mark.parametrize(("mean", "words"), [(0.3, " elsewhere."), (0.6, "partly elsewhere"), (0.9, "the same cells")])
def test_what_a_stability_means(mean, words):
    assert words in card(mean=mean).meaning


def test_a_card_without_two_runs_says_so():
    one = first_page.Card("fixed_map", 1, np.zeros((1, 7, 7)), None)
    none = first_page.Card("fixed_map", 0, np.zeros((0,)), None)
    assert (one.value, none.value) == ("needs two runs", "not trained in this profile")
    assert "nothing can be said" in one.meaning
    assert "takes several runs" in first_page.stability_alone({"fixed": one}, judged(differences(HIGHER, NONE, NONE)))


@pytest.mark.parametrize(("end", "words"), [(HIGHER, "are more stable"), (NONE, "stability alone is no reason")])
def test_stability_beside_one_fixed_map(end, words):
    table = judged(differences(HIGHER, HIGHER, end))
    assert words in first_page.stability_alone({"fixed": card("fixed_map")}, table)


def test_a_card_shows_the_face_and_its_runs():
    image = np.zeros((14, 14, 3), np.uint8)
    figure = first_page.tiles(image, card(runs=2))
    assert [ax.get_title() for ax in figure.axes] == ["the face", "run 0", "run 1", ""]
    assert len([ax for ax in figure.axes if ax.images]) == 3
    plt.close("all")


@pytest.mark.parametrize("narrow", [False, True])
def test_the_plot_has_every_quantity_with_its_verdict(narrow):
    table = judged(
        differences(HIGHER, NONE, LOWER, row="(a) one ↓", better="lower"),
        differences(NONE, NONE, UNKNOWN, row="(b) two"),
    )
    figure = first_page.plot(table, "cyborg", narrow)
    (ax,) = figure.axes
    words = " ".join([*(text.get_text() for text in ax.texts), *(label.get_text() for label in ax.get_yticklabels())])
    for text in ("(a) one", "(b) two", "cannot be said", "worse"):
        assert text in " ".join(words.split())
    assert len(ax.containers) == 3
    plt.close("all")

"""Numbers that several pages quote: their keys, and that words follow from intervals."""

import numpy as np
import pandas as pd
import pytest

from e2m.pages import quoted

HIGHER, NONE, LOWER, UNKNOWN = (0.1, 0.3), (-0.1, 0.2), (-0.4, -0.2), (np.nan, np.nan)
ROLES = {"guided": "cyborg", "traditional": "cross_entropy"}
REGIMES = ("cross_entropy", "shuffled_maps", "fixed_map")
ROW = "(d) SSIM between runs, as published ↑"


def differences(*ends, row=ROW, better="higher", letter="d"):
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(against=REGIMES[: len(ends)], row=row, note="1 run")
    about = {"detector": "toy", "salience": "GradCAM", "better": better, "letter": letter}
    return table.assign(difference=table[["low", "high"]].mean(axis=1).fillna(0.5), **about)


def means(row=ROW, **values):
    values = {"cyborg": 0.5, "cross_entropy": 0.25, "shuffled_maps": 0.75, "fixed_map": np.nan} | values
    return pd.DataFrame({"row": row, "regime": list(values), "mean": list(values.values())})


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (ROW, "d_ssim_between_runs_as_published"),
        ("(b) SSIM, noise 0.25, clean class ↑", "b_ssim_noise_clean_class"),
        ("(b) SSIM, noise 0.1, clean class ↑", "b_ssim_noise_clean_class"),
        ("AUC, swap ↑", "auc_swap"),
        ("(a) spatial entropy ↓", "a_spatial_entropy"),
    ],
)
def test_a_key_has_the_words_of_the_quantity_and_no_level(row, key):
    assert quoted.key(row) == key


@pytest.mark.parametrize(
    ("ends", "better", "verdict"),
    [
        (HIGHER, "higher", "CYBORG is better (difference +0.20 [+0.10, +0.30])"),
        (LOWER, "higher", "cross-entropy is better (difference -0.30 [-0.40, -0.20])"),
        (HIGHER, "lower", "cross-entropy is better (difference +0.20 [+0.10, +0.30])"),
        (LOWER, "lower", "CYBORG is better (difference -0.30 [-0.40, -0.20])"),
        (LOWER, "", "cross-entropy is higher (difference -0.30 [-0.40, -0.20])"),
        (NONE, "higher", "no clear difference (+0.05 [-0.10, +0.20])"),
        (UNKNOWN, "higher", "no clear difference (+0.50, without an interval: 1 run)"),
    ],
)
def test_the_better_group_is_named_only_beyond_the_interval(ends, better, verdict):
    texts = quoted.quantities(means(), differences(ends, better=better), **ROLES)
    key = quoted.key(ROW)
    assert texts[f"{key}_verdict"] == verdict
    assert (texts[f"{key}_guided"], texts[f"{key}_traditional"]) == ("0.50", "0.25")
    assert texts[f"{key}_rivals"] == "none were trained"


@pytest.mark.parametrize(
    ("ends", "better", "words"),
    [
        (LOWER, "higher", "better than CYBORG"),
        (HIGHER, "higher", "worse than CYBORG"),
        (LOWER, "lower", "worse than CYBORG"),
        (LOWER, "", "higher than CYBORG"),
        (NONE, "higher", "no clear difference from CYBORG"),
        (UNKNOWN, "lower", "no clear difference from CYBORG"),
    ],
)
def test_rivals_are_judged_beside_guided_detectors(ends, better, words):
    texts = quoted.quantities(means(), differences(NONE, ends, HIGHER, better=better), **ROLES)
    first, second = texts[f"{quoted.key(ROW)}_rivals"].split("; ")
    assert first == f"0.75 with shuffled maps, {words}"
    assert second.startswith("no value with one fixed map, ")


def test_what_follows_for_guidance():
    rows = {"(a) x ↓": (LOWER, LOWER, HIGHER), "(b) y ↑": (HIGHER, NONE, NONE), "(c) z ↑": (HIGHER, LOWER, LOWER)}
    better = {"(a) x ↓": "lower", "(b) y ↑": "higher", "(c) z ↑": "higher"}
    table = pd.concat([differences(*ends, row=row, better=better[row]) for row, ends in rows.items()])
    texts = quoted.comparisons(table, **ROLES)
    assert texts["beside_fixed_map"] == (
        "Training with one fixed map does better than CYBORG on 2 of 3 quantities, worse on none, undecided on 1. "
        "Better: (a) x; (c) z."
    )
    assert texts["beside_shuffled_maps"] == (
        "Training with shuffled maps does better than CYBORG on 1 of 3 quantities, worse on 1, undecided on 1. "
        "Better: (c) z. Worse: (a) x."
    )
    assert texts["wrong_maps"] == f"{texts['beside_shuffled_maps']} {texts['beside_fixed_map']}"
    assert "nothing here shows that it matters where the guiding maps point" in texts["conclusion"]
    claimed = pd.concat([table, differences(HIGHER, HIGHER, HIGHER, row="(e) w ↑", letter="e")])
    assert quoted.comparisons(claimed, **ROLES)["conclusion"].startswith(
        "It matters where the guiding maps point for 1: (e) w. There, "
    )
    alone = quoted.comparisons(table[table["against"] == "cross_entropy"], **ROLES)
    assert alone["wrong_maps"] == "No detectors were trained with wrong maps."
    assert alone["conclusion"].startswith("Any pull on the map may be the cause")

"""Which of two groups of detectors deserves trust: a written rule, applied to the tables of model selection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from e2m import plugins, statistics
from e2m.types import InputError

RULE = """
1. *Equal accuracy.* Two one-sided tests ask whether the in-set AUCs are equal up to the margin. If the AUCs differ, the
   more accurate group is preferred, and the measures decide nothing. If neither is shown, there is no reason to prefer
   either.
2. *Beyond wrong maps.* A quantity counts if guided detectors differ from traditional ones **and** from those trained
   with each kind of wrong map, in the same direction. All these 95 % intervals lie on the same side of 0.
3. *One direction.* If all quantities that count favour the same group, it is preferred. If none counts, or if they
   contradict each other, there is no reason to prefer either.
"""
"""The rule, in words."""

RULE_BETWEEN = (
    "Accuracy first. Two one-sided tests ask whether the AUCs of both groups are equal up to the margin. If they are "
    "not, and differ, the more accurate group is preferred, and the measures decide nothing. If neither is shown, "
    "there is no reason to prefer either.",
    "What differs. Of equally accurate groups, the measures with a better direction are compared. All comparisons, "
    "those of AUCs included, are one family: a difference counts if its p, over runs and images, is at most 0.05 after "
    "Holm's correction for their number. So at most one audit in twenty prefers one of two groups that do not differ.",
    "One direction. If all differences that count favour the same group, it is preferred. If none counts, or if they "
    "contradict each other, there is no reason to prefer either.",
)
"""The rule for groups that nobody planned, a point each: the question is which, not what made them different."""

SIGNIFICANT = 0.05
"""Largest corrected p of a difference that counts."""

_WORDS = {1: "higher", -1: "lower"}


@dataclass(frozen=True)
class Answer:
    """What a rule says of two groups.

    Attributes:
        preferred: the group that deserves more trust; None if there is no reason to prefer either.
        accuracy, measures, verdict: the answer in three sentences.
        by_measures: whether measures of salience decided, and not the accuracy.
    """

    preferred: str | None
    accuracy: str
    measures: str
    verdict: str
    by_measures: bool = False


def beyond(differences: pd.DataFrame, *, unguided: str, controls: Sequence[str]) -> pd.DataFrame:
    """Whether guidance, or any pull on the map, explains the difference in every quantity, as a verdict in words.

    An effect of human guidance is claimed only where guided detectors differ, in one direction, from unguided ones and
    from those of every control. Controls are trained with maps that say nothing about their image.

    Args:
        differences: guided minus another regime, as ``selection.differences`` returns it: row (the quantity), detector,
            salience, against (the other regime), low, high.
        unguided: the regime trained without maps.
        controls: regimes trained with maps that do not belong to the image; with none, nothing is claimed.

    Returns:
        One row a detector, salience method and quantity: detector, salience, row, sign (of guided minus unguided: 1,
        -1, or 0 if the interval includes 0; NaN without an interval), claimed (bool), verdict.

    Raises:
        InputError: a quantity without a difference to one of the regimes.
    """
    verdicts = []
    for names, group in differences.groupby(["detector", "salience", "row"], sort=False):
        against = group.set_index("against")
        if absent := sorted({unguided, *controls} - set(against.index)):
            raise InputError(f"{names[-1]}: no difference to {', '.join(absent)}; compare guided detectors with it too")
        signs = {regime: _sign(*against.loc[regime, ["low", "high"]]) for regime in (unguided, *controls)}
        verdicts.append((*names, signs[unguided], *_claim(signs, unguided, controls)))
    return pd.DataFrame(verdicts, columns=["detector", "salience", "row", "sign", "claimed", "verdict"])


def answer(equal: pd.Series, differences: pd.DataFrame, *, guided: str, traditional: str) -> Answer:
    """Apply ``RULE`` to one detector.

    Args:
        equal: the row of ``selection.equal_accuracy`` of the synthetic in-set source.
        differences: the rows of ``selection.differences`` of one salience method. Those with a letter are measures, and
            those with a better direction decide.
        guided, traditional: the regimes.
    """
    measured = differences[(differences["letter"] != "") & (differences["better"] != "")]
    controls = [regime for regime in dict.fromkeys(measured["against"]) if regime != traditional]
    judged = beyond(measured, unguided=traditional, controls=controls)
    better = measured.drop_duplicates("row").set_index("row")["better"]
    wanted = judged["row"].map(better).map({"higher": 1, "lower": -1})
    favoured = {
        guided if sign == want else traditional
        for sign, want, claimed in zip(judged["sign"], wanted, judged["claimed"], strict=True)
        if claimed
    }
    named = equal.rename({"AUC difference": "difference", "90 % low": "low_90", "90 % high": "high_90"})
    accuracy = _of_accuracy(named, _label(guided), _label(traditional), "in-set AUC")
    measures = _of_measures(judged, controls, guided)
    if equal["verdict"] == "different":
        preferred = guided if equal["AUC difference"] > 0 else traditional
        verdict = f"By the written rule, {_label(preferred)} is preferred, because it is more accurate."
    elif equal["verdict"] != "equal":
        preferred = None
        verdict = _nothing("equal accuracy was not shown, so that a preference could cost accuracy")
    elif len(favoured) == 1:
        (preferred,) = favoured
        verdict = (
            f"By the written rule, {_label(preferred)} is preferred: it is as accurate, and better in every "
            "quantity that differs from wrong maps too."
        )
    else:
        preferred = None
        apart = "the quantities that differ point in both directions"
        verdict = _nothing(apart if favoured else "no difference goes beyond what wrong maps do too")
    return Answer(preferred, accuracy, measures, verdict)


def answers(
    equal: pd.DataFrame, differences: pd.DataFrame, synthetic: str, *, guided: str, traditional: str
) -> dict[str, Answer]:
    """Detector -> what the rule says of it; ``equal`` and ``differences`` have all of them, ``synthetic`` is in-set."""
    in_set = equal[equal["source"] == synthetic].set_index("detector", drop=False)
    return {
        detector: answer(in_set.loc[detector], rows, guided=guided, traditional=traditional)
        for detector, rows in differences.groupby("detector", sort=False)
    }


def corrected(equal: pd.DataFrame, differences: pd.DataFrame, but: Collection[str] = ()) -> tuple[pd.Series, pd.Series]:
    """The p of every comparison of ``RULE_BETWEEN``, after Holm's correction for all of them; NaN for others.

    Args:
        equal: ``statistics.equal_auc`` of every pair of groups, one row a pair.
        differences: ``selection.between`` of one salience method. Those with a letter are measures, and those with a
            better direction decide.
        but: quantities (``row``) that do not decide.

    Returns:
        One p for each row of ``equal``, and for each of ``differences``.
    """
    decides = (differences["letter"] != "") & (differences["better"] != "") & ~differences["row"].isin(but)
    of_measures = differences["p_interval"].where(decides)
    p = np.concatenate([equal["p_interval"], of_measures]) if len(equal) else of_measures.to_numpy()
    adjusted = statistics.holm(p)
    return pd.Series(adjusted[: len(equal)], equal.index), pd.Series(adjusted[len(equal) :], differences.index)


def between(equal: pd.DataFrame, differences: pd.DataFrame, but: Collection[str] = ()) -> dict[tuple[str, str], Answer]:
    """Apply ``RULE_BETWEEN`` to every pair of groups.

    Args:
        equal, differences, but: as in ``corrected``. Columns ``regime`` and ``against`` name the groups of a pair.
            ``equal`` has no row of a pair whose images are of one class.

    Returns:
        The first and the second group of each pair -> what the rule says of them.
    """
    p_equal, p_measures = corrected(equal, differences, but)
    table = differences.assign(p_corrected=p_measures)
    tested = equal.assign(p_corrected=p_equal).set_index(["regime", "against"]) if len(equal) else {}
    pairs = table.groupby(["regime", "against"], sort=False)
    known = set(tested.index) if len(tested) else ()
    return {pair: _between(tested.loc[pair] if pair in known else None, rows, *pair) for pair, rows in pairs}


def _between(equal: pd.Series | None, differences: pd.DataFrame, first: str, second: str) -> Answer:
    wanted = differences["better"].map({"higher": 1, "lower": -1})
    sign = np.sign(differences["difference"])
    counts = differences["p_corrected"] <= SIGNIFICANT
    favoured = set(np.where(sign == wanted, first, second)[counts])
    measures = _of_counted(differences, counts, sign, first, second)
    if equal is None:
        accuracy = (
            f"Whether {first} and {second} are equally accurate cannot be tested: without scores of both classes from "
            "both, there is no AUC."
        )
        return Answer(None, accuracy, measures, f"{_NEITHER}: their accuracy cannot be compared.")
    accurate = equal["p_corrected"] <= SIGNIFICANT and equal["verdict"] == "different"
    shown = equal if accurate or equal["verdict"] == "equal" else equal.replace("different", "undecided")
    accuracy = _of_accuracy(shown, first, second, "AUC")
    if accurate:
        preferred = first if equal["difference"] > 0 else second
        return Answer(preferred, accuracy, measures, f"{preferred} is preferred, because it is more accurate.")
    if shown["verdict"] != "equal":
        reason = "equal accuracy was not shown, so that a preference could cost accuracy"
        return Answer(None, accuracy, measures, f"{_NEITHER}: {reason}.")
    if len(favoured) == 1:
        (preferred,) = favoured
        verdict = f"{preferred} is preferred: as accurate, and better in every measure that tells the groups apart."
        return Answer(preferred, accuracy, measures, verdict, by_measures=True)
    reason = "the measures that tell them apart point in both directions" if favoured else "no measure tells them apart"
    return Answer(None, accuracy, measures, f"{_NEITHER}: they are equally accurate, and {reason}.")


_NEITHER = "There is no reason to prefer either"


def compared(differences: pd.DataFrame, *, guided: str, other: str) -> str:
    """What the measures say of guided detectors beside those of one other regime, in up to three sentences.

    Args:
        differences: guided minus every regime, as in ``answer``, of one detector and one salience method.
        guided, other: the regimes.

    Returns:
        Which quantities favour which of the two: those whose 95 % interval excludes 0. Quantities without a better
        direction are left out.
    """
    decided = (differences["letter"] != "") & (differences["better"] != "")
    rows = differences[decided & (differences["against"] == other)]
    sign = [_sign(low, high) for low, high in zip(rows["low"], rows["high"], strict=True)]
    favour = np.array(sign) * rows["better"].map({"higher": 1, "lower": -1}).to_numpy(float)
    better, worse = (list(rows["row"][favour == side].str.rstrip(" ↑↓")) for side in (-1, 1))
    counted = f"better than {_label(guided)} on {len(better) or 'none'} of {len(rows)} quantities"
    open_ = len(rows) - len(better) - len(worse) or "none"
    text = f"Training with {_label(other)} does {counted}, worse on {len(worse) or 'none'}, undecided on {open_}."
    named = (f"{how}: {'; '.join(names)}." for how, names in (("Better", better), ("Worse", worse)) if names)
    return " ".join([text, *named])


def conclusion(judged: pd.DataFrame) -> str:
    """What the result of ``beyond`` says of all quantities: whether it matters where the guiding maps point."""
    names = list(judged.loc[judged["claimed"], "row"].str.rstrip(" ↑↓"))
    if not names:
        return (
            "No quantity differs in one direction from training without maps and from training with wrong maps: "
            "nothing here shows that it matters where the guiding maps point."
        )
    return (
        f"It matters where the guiding maps point for {len(names)}: {'; '.join(names)}. There, guided detectors differ "
        "from all other groups, in one direction."
    )


def by_method(differences: pd.DataFrame) -> str:
    """Whether it depends on the salience method how guided detectors differ from traditional ones, in sentences.

    Args:
        differences: guided minus traditional, one row a salience method, detector and quantity: salience, detector,
            row, difference, low, high.
    """
    ends = zip(differences["low"], differences["high"], strict=True)
    table = differences.assign(sign=[_sign(*pair) for pair in ends], side=np.sign(differences["difference"]))
    wide = table.pivot(index=["detector", "row"], columns="salience", values=["sign", "side"])
    signs, sides = wide["sign"], wide["side"]
    least, most = signs.min(axis=1), signs.max(axis=1)
    unknown = signs.isna().any(axis=1)
    same, opposite = ~unknown & (least == most), least * most < 0
    differ, never = int((same & (least != 0)).sum()), int((same & (least == 0)).sum())
    alike = ~unknown & (sides.min(axis=1) == sides.max(axis=1))
    said = [
        f"Of {len(signs)} quantities, {differ or 'none'} differ{'s' * (differ < 2)} in the same direction with every "
        f"method, and {never or 'none'} with no method.",
        f"The verdict depends on the method for {_counted(~same & ~unknown)}.",
        f"Methods contradict each other, with intervals on both sides of 0, for {_counted(opposite)}.",
        f"The means alone differ in the same direction with every method for {alike.sum() or 'none'}.",
    ]
    said += [f"Without an interval for some method: {_counted(unknown)}."] if unknown.any() else []
    return " ".join(said)


def _counted(chosen: pd.Series) -> str:
    """How many quantities are chosen, and which: "2: (a) entropy; (b) SSIM"; the index names them last."""
    names = dict.fromkeys(name[-1].rstrip(" ↑↓") for name in chosen.index[chosen])
    return f"{chosen.sum()}: {'; '.join(names)}" if chosen.any() else "none"


def _of_counted(differences: pd.DataFrame, counts: pd.Series, sign: pd.Series, first: str, second: str) -> str:
    """What differs between two groups, in a sentence."""
    total, differ = int(differences["p_corrected"].notna().sum()), int(counts.sum())
    if not total:
        return "The measures cannot be compared: no difference between the groups has an interval."
    of_all = f"Of {total} comparisons of measures"
    if not differ:
        return f"{of_all}, none differs by more than chance allows for so many comparisons at once."
    wanted = differences["better"].map({"higher": 1, "lower": -1})
    names = differences["row"].str.rstrip(" ↑↓")
    better = {group: names[counts & (sign * side == wanted)] for group, side in ((first, 1), (second, -1))}
    listed = " ".join(f"Better with {group}: {'; '.join(rows)}." for group, rows in better.items() if len(rows))
    return f"{of_all} between {first} and {second}, {differ} differ{'s' * (differ == 1)}. {listed}"


def _of_accuracy(equal: pd.Series, first: str, second: str, what: str) -> str:
    interval = f"{equal['difference']:+.3f}, 90 % interval {equal['low_90']:+.3f} to {equal['high_90']:+.3f}"
    groups = f"{first} and {second}"
    if equal["verdict"] == "equal":
        margin = f"up to a margin of {equal['margin']:g}"
        return f"{groups} are equally accurate {margin} (difference of {what} {interval})."
    if equal["verdict"] == "different":
        return f"{groups} are not equally accurate (difference of {what} {interval})."
    if not np.isfinite(equal["low_90"]):
        return f"Whether {groups} are equally accurate cannot be tested: {equal['note']}."
    return (
        f"{groups} are neither shown to be equally accurate up to a margin of {equal['margin']:g} nor to differ "
        f"(difference of {what} {interval})."
    )


def _of_measures(judged: pd.DataFrame, controls: Sequence[str], guided: str) -> str:
    total, differ = len(judged), int((judged["sign"].abs() == 1).sum())
    first = f"{differ or 'None'} of {total} quantities of the measures differ{'s' * (differ < 2)} between the groups"
    if judged["sign"].isna().all():
        return "The measures cannot be compared: no difference between the groups has an interval."
    if not differ:
        return f"{first} by more than its interval allows for."
    if not controls:
        return f"{first}. No detectors were trained with wrong maps, so that any pull on the map may be the cause."
    claimed = judged[judged["claimed"]]
    kinds = ", ".join(map(_label, controls))
    if claimed.empty:
        return f"{first}. None goes beyond what wrong maps do too ({kinds}): any pull on the map may be the cause."
    named = "; ".join(
        f"{row.row.rstrip(' ↑↓')}, {_WORDS[row.sign]} with {_label(guided)}" for row in claimed.itertuples()
    )
    return f"{first}. {len(claimed)} of them go{'es' * (len(claimed) == 1)} beyond wrong maps ({kinds}): {named}."


def _nothing(reason: str) -> str:
    return f"By the written rule, there is no reason to prefer either: {reason}."


def _sign(low: float, high: float) -> float:
    """1 if an interval lies above 0, -1 if below, 0 if it contains 0, NaN if there is no interval."""
    return np.nan if np.isnan(low + high) else float((low > 0) - (high < 0))


def _claim(signs: Mapping[str, float], unguided: str, controls: Sequence[str]) -> tuple[bool, str]:
    if unknown := [_label(regime) for regime, sign in signs.items() if np.isnan(sign)]:
        return False, f"nothing can be said: no interval against {' and '.join(unknown)}"
    sign = signs[unguided]
    kinds = "either kind of wrong map" if len(controls) > 1 else " and ".join(map(_label, controls))
    beyond = [signs[regime] for regime in controls]
    if not controls:
        return False, f"{_WORDS[sign]} than without maps; no controls" if sign else "no clear difference; no controls"
    if sign and all(other == sign for other in beyond):
        return True, f"an effect of guidance: {_WORDS[sign]} than without maps, and than with {kinds}"
    if sign:
        alike = " or ".join(_label(regime) for regime in controls if signs[regime] != sign)
        return False, f"any pull may be the cause: {_WORDS[sign]} than without maps, but not than with {alike}"
    if beyond[0] and all(other == beyond[0] for other in beyond):
        return (
            False,
            f"no effect shown: {_WORDS[beyond[0]]} than with wrong maps, but not than without maps",
        )
    return False, "no effect shown: no clear difference from training without maps"


def _label(regime: str) -> str:
    return plugins.load("regime", regime).LABEL

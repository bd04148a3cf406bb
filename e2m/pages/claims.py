"""Claims about guided detectors: what is published and by whom, what this book expects, and what its tables say.

Nothing is put into anybody's mouth: a published claim is one that stands in a public text (abstract, README, code or
figure). Every verdict is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from e2m import statistics
from e2m.experiment.results import Experiment
from e2m.pages import figures, selection
from e2m.statistics import Status
from e2m.statistics.planning import MOST
from e2m.types import InputError

SUPPORTED, CONTRADICTED, INCONCLUSIVE, UNTESTABLE = "supported", "contradicted", "inconclusive", "untestable"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE, UNTESTABLE)

PAPER, CYBORG, OURS = "the paper", "CYBORG", "expectation"
GROUPS = {
    PAPER: "What *Explain To Me* publicly says",
    CYBORG: "What CYBORG publicly says",
    OURS: "What this book expects, and why",
}
"""Group of claims -> its heading."""

PUBLISHED, CORRECTED = "published", "corrected"
"""The two variants of a measure; a claim about scores alone has none."""


@dataclass(frozen=True)
class Claim:
    """A claim about guided detectors, compared with traditional ones, or about detectors of one regime.

    Attributes:
        claim: the claim in words.
        group: a key of ``GROUPS``.
        by: the public text that makes it, or whose idea it is.
        expected: "lower", "higher", "different" or "equal"; "" if nothing here tests the claim.
        test: the value of the column ``test`` in ``tests`` that tests it.
        figures: the published figures; "" if a direction only, or nothing, is published.
        reason: why nothing here tests the claim.
        needs: the data that would test it.
    """

    claim: str
    group: str
    by: str
    expected: str = ""
    test: str = ""
    figures: str = ""
    reason: str = ""
    needs: str = ""


ABSTRACT, README = "Crum et al. 2023, abstract", "Crum et al. 2023, README of the code"
CYBORG_ABSTRACT, CYBORG_README = "Boyd et al. 2023, abstract", "Boyd et al. 2023, figure in the README of the code"
AUCS = "AUC .612 ± .05 (CYBORG), .585 ± .04 (seven times the data), .537 ± .09 (classical): ten ResNet-50 models each"

DIFFERENT = "Both kinds of models have different properties of salience: ({letter}) {property}"
PROPERTIES = {
    "a": "entropy",
    "b": "response to noise",
    "c": "response to transformations",
    "d": "similarity between training runs",
}
"""Letter of a measure -> the property that it measures, in words."""

NO_THRESHOLD = "the text names no figure, so no number can support or contradict it"
GOOD = [
    Claim(f"A good model {what}", PAPER, README, reason=NO_THRESHOLD, needs=f"a stated figure; the page on {page}")
    for what, page in (
        ("focuses on the object", "entropy shows the values beside those of controls"),
        ("loses performance gracefully under noise", "noise shows the curve"),
        ("handles basic geometric transformations", "transformations shows the values beside their ceiling"),
        ("gives consistent maps when it is trained again", "stability shows the values beside those of controls"),
    )
]
EXPECTED = [
    Claim(
        "(a) Salience of guided detectors is more concentrated: lower entropy",
        OURS,
        "this book; a goal of training in Piland et al. 2023, abstract",
        "lower",
        "a",
    ),
    Claim("(b) Salience of guided detectors is more robust to noise", OURS, "this book", "higher", "b"),
    Claim("(c) Guided detectors follow transformations more closely", OURS, "this book", "higher", "c"),
    Claim(
        "(d) Salience of guided detectors is more alike between runs",
        OURS,
        "after Boyd et al., arXiv 2410.16190",
        "higher",
        "d",
    ),
    Claim(
        "Guidance helps because people looked there",
        OURS,
        "this book",
        reason="annotations are simulated: that of a composite is its true region",
        needs="maps drawn by people; model selection compares with wrong maps meanwhile",
    ),
]
MORE_DATA = [
    Claim(
        "Seven times the training data cannot do what guidance does",
        CYBORG,
        CYBORG_ABSTRACT,
        figures=AUCS,
        reason="the embedded data do not have seven times as many photographs",
        needs="seven times as many training images of the same sources",
    ),
    Claim(
        "Guidance by segmentation masks cannot do what guidance by people does",
        CYBORG,
        CYBORG_ABSTRACT,
        reason="there are no maps drawn by people to compare the masks with",
        needs="maps drawn by people, and masks of the parts of the same faces",
    ),
]


def of(experiment: Experiment) -> list[Claim]:
    """All claims, with one for every source that training did not see and for both regimes of the comparison."""
    synthetic = experiment.samples.loc[experiment.samples["label"] == "synthetic", "source"].unique()
    unseen = [source for source in synthetic if source not in experiment.in_set]
    better = "Guided detectors are better on samples that training did not see"
    together = Claim(f"{better} (AUC, all sources together)", CYBORG, CYBORG_README, "higher", "AUC, unseen", AUCS)
    if not unseen:
        nothing = {"reason": "training saw all sources", "needs": "sources that training did not see"}
        together = replace(together, expected="", test="", **nothing)
    return [
        Claim(
            f"Models can be equally accurate, so accuracy cannot choose between them (AUC, {experiment.synthetic})",
            PAPER,
            ABSTRACT,
            "equal",
            "equal AUC",
        ),
        *(
            Claim(DIFFERENT.format(letter=letter, property=words), PAPER, ABSTRACT, "different", letter)
            for letter, words in PROPERTIES.items()
        ),
        *(
            Claim(f"(e) {what}: {figures.regime_label(regime)}", PAPER, README, expected, f"blur {region}, {regime}")
            for what, region, expected in (
                ("Removing salient regions hurts classification", "salient", "lower"),
                ("Removing other regions does not hurt it", "background", "equal"),
            )
            for regime in experiment.roles.values()
        ),
        *GOOD,
        together,
        *(
            Claim(f"{better}: {source}", CYBORG, f"{CYBORG_ABSTRACT}, of six GANs", "higher", f"AUC, {source}")
            for source in unseen
        ),
        *MORE_DATA,
        *EXPECTED,
    ]


def tests(
    experiment: Experiment, differences: pd.DataFrame, equal: pd.DataFrame, max_sigma: float, margin: float
) -> pd.DataFrame:
    """Every difference that can test a claim: one row a test, detector, variant and salience method.

    Args:
        experiment: the experiment whose results are read.
        differences: ``selection.differences`` of all methods, those to the traditional regime.
        equal: ``selection.equal_accuracy``.
        max_sigma: largest blur, in pixels at 224.
        margin: changes of accuracy smaller than this count as none.

    Returns:
        test, variant ("published", "corrected", or "" for scores of clean images), salience ("" for them), row (the
        quantity), detector, difference, low, high, level of the interval, margin, regimes (how many are compared), and
        the attributes of ``Interval`` that planning and remarks need.
    """
    of_maps = differences[differences["letter"].isin([*PROPERTIES])]
    variant = of_maps["published"].map({True: PUBLISHED, False: CORRECTED})
    of_maps = of_maps.assign(test=of_maps["letter"], variant=variant, regimes=2)
    first = differences["salience"] == differences["salience"].iloc[0]
    aucs = differences[first & differences["row"].str.startswith("AUC")]
    aucs = aucs.assign(test=aucs["row"].str.rstrip(" ↑"), variant="", salience="", regimes=2)
    same = equal[equal["source"] == experiment.synthetic].assign(test="equal AUC", variant="", salience="", level=0.9)
    renamed = {"AUC difference": "difference", "90 % low": "low", "90 % high": "high"}
    same = same.rename(columns=renamed).assign(regimes=2, row="AUC, " + experiment.synthetic).drop(columns="verdict")
    blurs = [
        blur_changes(selection.with_method(experiment, method), method, max_sigma).assign(margin=margin, regimes=1)
        for method in selection.methods(experiment)
    ]
    unseen = unseen_contrast(experiment).assign(variant="", salience="", regimes=2)
    table = pd.concat([of_maps, aucs, same, *blurs, unseen], ignore_index=True)
    return table.assign(level=table["level"].fillna(0.95))


def judged(claims: Sequence[Claim], tests: pd.DataFrame) -> pd.DataFrame:
    """Every claim beside every difference that tests it, and the verdict.

    Args:
        claims: the claims to judge.
        tests: the result of ``tests``.

    Returns:
        group, claim, by, expected, figures, verdict, why, decides (what would decide it: runs or images where the
        verdict is inconclusive, data where it is untestable), and the columns of ``tests``; these are null where
        nothing tests the claim.

    Raises:
        InputError: a claim with a test that no row has, or that a variant and method has twice.
    """
    return pd.DataFrame([row for claim in claims for row in _judge(claim, tests)])


def as_published(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of ``judged`` with the published variant and one salience method, and those that have neither.

    Raises:
        InputError: a method that no row has.
    """
    variant, salience = (table[name].fillna("") for name in ("variant", "salience"))
    if method not in (known := set(salience) - {""}):
        raise InputError(f"no claim is judged by the method {method!r}; choose from {', '.join(sorted(known))}")
    return table[variant.isin([PUBLISHED, ""]) & salience.isin([method, ""])]


def verdict(expected: str, row: pd.Series) -> tuple[str, str]:
    """Verdict, and reason, on a difference that is expected to be "lower", "higher", "different" or "equal"."""
    low, high = row["low"], row["high"]
    if not np.isfinite(low):
        return UNTESTABLE, row["note"]
    if expected == "equal":
        margin = row["margin"]
        if -margin < low and high < margin:
            # Where there are tests over runs as well, they have to agree; elsewhere p is null.
            refused = row.get("p", np.nan) >= 0.05
            return (
                (INCONCLUSIVE, "tests over runs alone do not agree")
                if refused
                else (SUPPORTED, f"equal up to {margin:g}")
            )
        beyond = low > margin or high < -margin
        return (CONTRADICTED, f"different by more than {margin:g}") if beyond else _open(f"±{margin:g}")
    if low <= 0 <= high:
        return _open("0")
    sign = "higher" if low > 0 else "lower"
    return (SUPPORTED, "") if expected in ("different", sign) else (CONTRADICTED, f"{sign} instead")


def _open(bound: str) -> tuple[str, str]:
    return INCONCLUSIVE, f"the interval includes {bound}"


def decides(expected: str, row: pd.Series) -> str:
    """What would decide an inconclusive difference, in words: how many runs or images, from the variances found.

    See ``statistics.needed``: if the true difference is as large as the one found, eight of ten studies of that size
    decide.
    """
    gap = abs(row["margin"] - abs(row["difference"])) if expected == "equal" else abs(row["difference"])
    parts = (row["run_variance"], row["image_variance"], int(row["runs"]), int(row["clusters"]))
    plan = statistics.needed(gap, *parts, regimes=int(row["regimes"]), level=row["level"])
    runs = f"{plan.runs} runs ({row['runs']:.0f} now)"
    images = f"{np.ceil((plan.images or 0) * row['images']):.0f} images ({row['images']:.0f} now)"
    if plan.runs and plan.images:
        return f"{runs}, or {images}"
    if plan.runs:
        return f"{runs}; more images alone cannot decide it"
    if plan.images:
        return f"{images}; more runs alone cannot decide it"
    if plan.both:
        both = f"{plan.both} runs and {row['images'] * plan.both / row['runs']:.0f} images together"
        return f"{both}; neither is enough alone"
    return f"more than {MOST} runs, however many images: the difference is too close to what it has to exclude"


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Verdicts by claim (rows, in order) and by variant and salience method (columns) for one detector.

    A claim that no map enters has its verdict in all columns; a measure without a corrected variant has "" there.
    """
    columns = table.loc[table["salience"].fillna("") != "", ["variant", "salience"]].drop_duplicates()
    order = list(product((PUBLISHED, CORRECTED), dict.fromkeys(columns["salience"])))
    cells = {}
    for claim, rows in table.groupby("claim", sort=False):
        known = {(row.variant, row.salience): row.verdict for row in rows.itertuples()}
        everywhere = len(rows) == 1 and not rows["salience"].fillna("").iloc[0]
        cells[claim] = [rows["verdict"].iloc[0] if everywhere else known.get(pair, "") for pair in order]
    names = ["variant", "salience"]
    return pd.DataFrame.from_dict(cells, orient="index", columns=pd.MultiIndex.from_tuples(order, names=names))


def blur_changes(experiment: Experiment, method: str, max_sigma: float) -> pd.DataFrame:
    """Changes of in-set accuracy by blur, each on the same images, for every regime of the comparison.

    Published: accuracy with a region blurred minus that of the same images before. Corrected, for the salient region:
    accuracy with it blurred minus accuracy with as much blur elsewhere (region "random"), where the profile has it.

    Args:
        experiment: the experiment whose results are read.
        method: salience method that guides the blur.
        max_sigma: largest blur, in pixels; see e2m.measures.degradation.

    Returns:
        Rows like those of ``tests``: test ("blur REGION, REGIME"), variant, salience, row, detector, difference, and
        the attributes of ``Interval``.
    """
    rows = selection.at_level(experiment.rows("degradation", salience=method), max_sigma)
    rows = rows[rows["source"].isin(experiment.in_set) & rows["regime"].isin(experiment.roles.values())]
    rows = rows.astype(dict.fromkeys(("detector", "regime", "image", "region"), str))
    changes = statistics.accuracy_changes(rows)
    wanted = [
        (PUBLISHED, region, f"change of accuracy, {region} blurred", changes[changes["region"] == region])
        for region in ("salient", "background")
    ]
    if "random" in set(rows["region"]):
        keys = ["detector", "regime", "run", "image"]
        right = {region: rows.set_index(keys)["value"] for region, rows in changes.groupby("region")}
        apart = changes[changes["region"] == "salient"].set_index(keys)
        apart = apart.assign(value=right["salient"] - right["random"]).reset_index()
        wanted.append((CORRECTED, "salient", "change of accuracy, salient minus as much elsewhere", apart))
    parts = []
    for variant, region, row, subset in wanted:
        table = statistics.summarise(subset, ["detector", "regime"], **experiment.resampling)
        named = table.assign(test=f"blur {region}, " + table["regime"], variant=variant, row=row, salience=method)
        parts.append(named.drop(columns="regime").rename(columns={"mean": "difference"}))
    return pd.concat(parts, ignore_index=True)


def unseen_contrast(experiment: Experiment) -> pd.DataFrame:
    """The AUC of all synthetic sources that training did not see, taken together: guided minus traditional.

    If every source has the same number of images, this is the difference of the mean AUC over these sources.

    Returns:
        One row a detector, with the test "AUC, unseen", like those of ``statistics.compare_auc``; no rows if training
        saw all sources.
    """
    scores = experiment.scores()
    new = (scores["label"] == "synthetic") & ~scores["source"].isin(experiment.in_set)
    if not new.any():
        return pd.DataFrame()
    against = {experiment.against[source] for source in scores.loc[new, "source"].unique()}
    scores = scores[new | scores["source"].isin(against)].assign(
        source=lambda rows: rows["label"].replace("synthetic", "unseen").astype(str)
    )
    settings = {**experiment.pair, **experiment.resampling}
    table = statistics.compare_auc(scores, ["detector"], "authentic", **settings)
    return table.assign(test="AUC, unseen", row="AUC, unseen sources together").drop(columns=["source", "p_holm"])


def _judge(claim: Claim, tests: pd.DataFrame) -> Iterator[dict]:
    about = {name: getattr(claim, name) for name in ("group", "claim", "by", "expected", "figures")}
    if not claim.expected:
        yield about | {"verdict": UNTESTABLE, "why": claim.reason, "decides": claim.needs}
        return
    rows = tests[tests["test"] == claim.test]
    if rows.empty or rows.duplicated(["detector", "variant", "salience"]).any():
        there = ", ".join(map(repr, dict.fromkeys(tests["test"])))
        raise InputError(
            f"{len(rows)} rows of the test {claim.test!r} ({claim.claim}); one a detector, variant and salience method "
            f"is needed of {there}"
        )
    for _, row in rows.iterrows():
        if row.get("status") == Status.NO_SPREAD:
            row = row.fillna({"low": row["difference"], "high": row["difference"]})  # all runs and images agree on it
        said, why = verdict(claim.expected, row)
        wanted = decides(claim.expected, row) if said == INCONCLUSIVE else ""
        wanted = "more runs or images, for an interval" if said == UNTESTABLE else wanted
        yield about | {"verdict": said, "why": why, "decides": wanted} | row.to_dict()

"""Intervals and tests for means, accuracies, AUCs and differences over crossed runs and images.

A table of values is (R, N), run r's value on image n, NaN where it is dead or missing. The model behind every interval:

    value[r, n] = mean + run[r] + image[n] + residual[r, n]

Runs and images are crossed, because every run sees every image. Values of one run share ``run[r]``, and values of one
image share ``image[n]``. Images of one subject share a part of theirs. It would be wrong to resample the R * N
values, or the R (R - 1) / 2 pairs of runs, as if they were independent. Every image or pair added would shrink the
interval although it brings no new run, and the interval would be far too short. Runs and images (or clusters of
images: subjects) are therefore resampled independently of each other, as in the pigeonhole bootstrap (Owen 2007,
Annals of Applied Statistics 1, 386) and the multi-bootstrap (Sellam et al., arXiv 2106.16163). Here one factor is
resampled at a time while the other stays whole, which gives one variance for each factor. Resampling n runs or clusters
makes this variance too small by the factor (n - 1) / n. After the correction the variances add up, and Student's t with
the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2, 110) gives the interval:

    estimate +- t * sqrt(sum v_k)        v_k = n_k / (n_k - 1) * var(resamples of factor k)
    degrees of freedom = (sum v_k)^2 / sum(v_k^2 / (n_k - 1))

No interval leaves the range that its quantity can have. The interval of a mean of values within limits (SSIM, entropy,
shares), or of an AUC, is computed on the log odds of its position between them. Ends of a difference are clipped to the
largest difference that there can be; no truth lies beyond it. Tidy rows carry the limits of their quantity in the
columns ``least`` and ``most``. Percentiles of joint resamples ignore the small number of runs and
cover the value far less often than stated: ``studies/coverage.py`` compares both methods, and others. If the residual
is larger than the effects of runs and images, the sum counts it twice and the interval is longer than necessary.

An interval over images alone (``over="images"``) keeps the runs fixed and has the images' variance only. It says
nothing about other runs, and needs one run only.

If a row is a pair of runs, (P, N), pairs that share a run are not independent either:

    value[i, j, n] = mean + run[i] + run[j] + pair[i, j] + image[n] + residual[i, j, n]

The variance over runs is then that of the jackknife (Efron & Stein 1981, Annals of Statistics 9, 586), which leaves out
each run with all its pairs: R - 1 times the variance of the R remaining means. It is right for ``run``, and too large
for ``pair``, whose variance it counts 2 (R - 1) / (R - 2) times. Drawing runs with replacement would give too small a
variance, because it puts too much weight on too few pairs.

Functions of run-level values (R,), one mean or AUC a run, generalise to other runs on these same images.

``intervals`` holds the intervals, and ``runs`` the functions of run-level values. ``rows`` derives tidy rows from tidy
rows, and ``tables`` summarises and compares groups of tidy rows. ``detection`` holds rates of detection at thresholds.
``planning`` says how many runs or images would decide a question, and ``components`` how many images are enough.
"""

from e2m.statistics.intervals import (
    Interval,
    Status,
    auc,
    auc_difference_interval,
    auc_interval,
    contrast_interval,
    difference_interval,
    mean_interval,
    pairs_interval,
)
from e2m.statistics.planning import Needed, needed, power
from e2m.statistics.rows import (
    accuracies,
    accuracy_changes,
    by_decision,
    flips,
    over_levels,
    ranged,
    softmax_scores,
    with_flips,
)
from e2m.statistics.runs import (
    Equivalence,
    PermutationTest,
    cliffs_delta,
    equivalent,
    holm,
    permutation_test,
    probability_greater,
)
from e2m.statistics.tables import compare, compare_auc, equal_auc, summarise, summarise_auc, summarise_rates

__all__ = [
    "Equivalence",
    "Interval",
    "Needed",
    "PermutationTest",
    "Status",
    "accuracies",
    "accuracy_changes",
    "auc",
    "auc_difference_interval",
    "auc_interval",
    "by_decision",
    "cliffs_delta",
    "compare",
    "compare_auc",
    "contrast_interval",
    "difference_interval",
    "equal_auc",
    "equivalent",
    "flips",
    "holm",
    "mean_interval",
    "needed",
    "over_levels",
    "pairs_interval",
    "permutation_test",
    "power",
    "probability_greater",
    "ranged",
    "softmax_scores",
    "summarise",
    "summarise_auc",
    "summarise_rates",
    "with_flips",
]

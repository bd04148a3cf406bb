"""How far the runs and the images of a study let its means, accuracies and differences be trusted.

A table of values is (R, N), run r's value on image n, NaN where it is dead or missing. The model behind every interval:

    value[r, n] = mean + run[r] + image[n] + residual[r, n]

Runs and images are crossed, for every run sees every image: values of one run share ``run[r]``, values of one image
share ``image[n]``, and images of one subject share a part of theirs. Resampling the R * N values, or the R (R - 1) / 2
pairs of runs, as if they were independent would shrink the interval with every image or pair added, although neither
brings a new run: the interval would be far too short. So runs and images (or clusters of them: subjects) are resampled
independently of each other, as in the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386) and the
multi-bootstrap (Sellam et al., arXiv 2106.16163), here each factor alone with the other whole, which yields one
variance a factor. Resampling n runs or clusters makes it too small by (n - 1) / n; corrected, the variances add up, and
Student's t with the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2, 110) gives the interval:

    estimate +- t * sqrt(sum v_k)        v_k = n_k / (n_k - 1) * var(resamples of factor k)
    degrees of freedom = (sum v_k)^2 / sum(v_k^2 / (n_k - 1))

An AUC's interval is taken on its log odds. Percentiles of joint resamples ignore how few the runs are and cover far
less often than they say: ``studies/coverage.py`` compares the two, and others. Where the residual outweighs runs and
images alike, the sum counts it twice and the interval is longer than it need be.

An interval over images alone (``over="images"``) keeps the runs as they are and has the images' variance only. It says
nothing about other runs, and one run is enough for it.

Where a row is a pair of runs, (P, N), pairs that share a run are not independent either:

    value[i, j, n] = mean + run[i] + run[j] + pair[i, j] + image[n] + residual[i, j, n]

The variance over runs is then the jackknife's (Efron & Stein 1981, Annals of Statistics 9, 586), each run left out with
all its pairs: R - 1 times the variance of the R means that remain. It is right for ``run`` and errs upwards for
``pair``, whose variance it takes 2 (R - 1) / (R - 2) times. Runs drawn with replacement err downwards: they put too
much weight on too few pairs.

Functions of run-level values (R,), one mean or AUC a run, speak of these images only: what other runs would do on them.

``intervals`` holds the intervals, ``runs`` the functions of run-level values, ``rows`` turns tidy rows into tidy rows,
and ``tables`` summarises and compares groups of tidy rows with all of them.
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
from e2m.statistics.rows import accuracies, by_decision, flips, over_levels, softmax_scores, with_flips
from e2m.statistics.runs import (
    Equivalence,
    PermutationTest,
    cliffs_delta,
    equivalent,
    holm,
    permutation_test,
    probability_greater,
)
from e2m.statistics.tables import compare, compare_auc, equal_auc, summarise, summarise_auc

__all__ = [
    "Equivalence",
    "Interval",
    "PermutationTest",
    "Status",
    "accuracies",
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
    "over_levels",
    "pairs_interval",
    "permutation_test",
    "probability_greater",
    "softmax_scores",
    "summarise",
    "summarise_auc",
    "with_flips",
]

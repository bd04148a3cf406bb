"""The work of an audit: what is left to do, how long it takes, and doing it."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace

from tqdm import tqdm

from e2m.audit import given
from e2m.audit.audit import Audit, Failure
from e2m.experiment import cost, explain
from e2m.experiment.profile import ModelKey
from e2m.store import disk, upkeep
from e2m.types import Detector, InputError


@dataclass(frozen=True)
class Job:
    """A detector, or known maps, and the sources without finished files.

    Attributes:
        audit: the audit as the job sees it.
        key: names the detector.
        sources: the sources to explain.
    """

    audit: Audit
    key: ModelKey
    sources: list[str]

    @property
    def group(self) -> str:
        """The name of the group whose network is run."""
        return self.key.detector or self.key.regime

    @property
    def of_maps(self) -> bool:
        """Whether it is the job of a group of maps, which has no network."""
        return self.audit.group(self.group).of_maps

    @property
    def clean(self) -> int:
        """Number of images."""
        return int(self.audit.samples["source"].isin(self.sources).sum())

    @property
    def changed(self) -> int:
        """Number of images that measures change."""
        most = max((settings["images_per_source"] for settings in self.audit.measures.values()), default=0)
        samples = self.audit.samples
        return int((samples["source"].isin(self.sources) & (samples["draw"] < most)).sum())

    @property
    def passes(self) -> int:
        """Forward passes, counted as images; methods that ask the network many times take more."""
        return 0 if self.of_maps else self.clean + self.changed * sum(cost.changes(self.audit).values())

    def detector(self) -> Detector:
        """The detector, loaded. What is found out about its network was said when it was checked."""
        with redirect_stderr(io.StringIO()):
            return self.audit.detector(self.key.detector, self.key.regime, self.key.run)


def jobs(audit: Audit) -> list[Job]:
    """What is left to do, group by group; known maps come last."""
    every = [(audit.of_key(key), key) for key in audit.trained]
    for group in audit.regimes:
        known = audit.known(group)
        # Only run 0 takes measures that change images, as in ``e2m.experiment.controls``.
        every += [(known if key.run == 0 else replace(known, measures={}), key) for key in known.trained]
    left = [Job(view, key, [one for one in view.sources if not _finished(view, key, one)]) for view, key in every]
    return [job for job in left if job.sources]


def seconds(left: Sequence[Job]) -> float:
    """About how long jobs take, measured on a few images with the first detector of every group.

    This also shows, before any long work, what cannot work.

    Raises:
        InputError: a network or a salience method that does not work.
    """
    total, first = 0.0, {}
    for job in left:
        if job.of_maps:
            continue  # reading maps takes seconds
        kind = (job.group, job.audit.of_known_maps, bool(job.audit.measures))
        if kind not in first:
            first[kind] = _seconds_of(job)
        clean, changed = first[kind]
        total += job.clean * clean + job.changed * changed
    return total


def check_weights(left: Sequence[Job]) -> None:
    """Load every checkpoint that is to be explained, so that one that does not fit is refused before any work.

    Raises:
        InputError: checkpoints that cannot be loaded, or belong to another network; a line each, with the path.
    """
    wrong = []
    for job in left:
        if not job.audit.of_known_maps and not job.of_maps:
            try:
                job.detector()
            except InputError as error:
                wrong.append(f"group {job.group!r}: {error}")
    if wrong:
        raise InputError("\n".join(wrong))


def work(audit: Audit, progress: bool = True) -> Audit:
    """Explain and measure what is left, and return the audit without the checkpoints that failed.

    Finished sources are kept, whatever happens afterwards. A checkpoint whose work ends with an error is named on
    stderr, and its group goes on without it.

    Raises:
        InputError: a group without a working checkpoint.
        OSError: a file cannot be written.
    """
    failures = [failure for job in jobs(audit) if not job.audit.of_known_maps if (failure := _failing(job, progress))]
    audit = audit.without(failures)
    for job in jobs(audit):
        _explain(job, progress)
    return audit


def _failing(job: Job, progress: bool) -> Failure | None:
    """The failure of a job, or None."""
    try:
        _explain(job, progress)
    except OSError:
        raise  # no file can be written: that concerns all jobs
    except Exception as error:  # networks of people raise anything
        why = " ".join(str(error).split()) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        weights = job.audit.checkpoint(job.key)
        tqdm.write(f"e2m: group {job.group!r} goes on without {weights}: {why}", file=sys.stderr)
        return Failure(job.group, str(weights) if weights.name else "", why)
    return None


def _explain(job: Job, progress: bool) -> None:
    if job.of_maps and not job.audit.of_known_maps:
        with redirect_stderr(io.StringIO()):
            given.write(job.audit, job.key, job.sources)
        return
    detectors = {job.key: job.detector()}
    explain.explain_detectors(job.audit, detectors, job.audit.methods, job.sources, progress, seed=job.key.run)


def _finished(audit: Audit, key: ModelKey, source: str) -> bool:
    """Whether all files of a source are there; one that is not whole is named on stderr, and counts as missing."""
    files = audit.results(key, [source])
    for path in files:
        if path.is_file() and (flaw := disk.flaw(path)):
            tqdm.write(f"e2m: {upkeep.set_aside(path, flaw)}", file=sys.stderr)
    return all(path.is_file() for path in files)


def _seconds_of(job: Job) -> tuple[float, float]:
    """Seconds of a clean image, and those that changing it adds."""
    detector = job.detector()
    audit = replace(job.audit, batch_size=cost.TIMED)
    first = audit.samples[audit.samples["source"] == job.sources[0]].nsmallest(cost.TIMED, "draw")
    batch = next(iter(audit.batches(first.reset_index(drop=True), detector)))
    measured = cost.seconds(audit, job.key, detector, batch)
    return measured.pop(cost.CLEAN), sum(measured.values())

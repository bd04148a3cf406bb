"""What was tried to break the software, and what happened: ``python -m studies.reliability``, part of `make faults`.

The tests of faults and of bad input are called what they promise. Their report in JUnit's format becomes the table
``reliability``: one row a case that was tried. Nothing in it is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from e2m.store import studies
from e2m.types import InputError

OUTCOMES = {"failure": "broken", "error": "broken", "skipped": "not tried"}
"""JUnit's word for the result of a case -> ours; a case without one kept its promise."""

KEPT = "kept"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="reports of pytest --junitxml")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the table [data/studies]")
    options = parser.parse_args(arguments)
    try:
        cases = table(options.reports)
    except InputError as error:
        sys.exit(f"e2m: {error}")
    print(studies.save("reliability", cases, options.folder, command="make faults"))


def table(reports: list[Path]) -> pd.DataFrame:
    """One row for each case: kind, promise, case, tried, outcome, seconds.

    ``tried`` counts what one case tries, such as the bits that it flips, where the test records that number.
    ``seconds`` are those of the processor, of the test and of what it starts: they hardly depend on what else runs.

    Raises:
        InputError: a report of tests that were interrupted.
    """
    return pd.DataFrame([row for report in reports for row in _rows(report)])


def _rows(report: Path) -> Iterator[dict]:
    cases = [
        (case, {entry.get("name"): entry.get("value") for entry in case.iter("property")})
        for case in ElementTree.parse(report).iter("testcase")
    ]
    cases = [(case, about) for case, about in cases if "cpu" in about]  # others did not end
    planned = max((int(about["of"]) for _, about in cases), default=0)
    if not cases or len(cases) < planned:
        raise InputError(
            f"{report}: {len(cases)} of {planned or 'no'} tests came to their end, and the table would leave the "
            "others out; run `make faults` once more, to its end"
        )
    for case, about in cases:
        yield {
            "kind": about["kind"],
            "promise": about["promise"],
            "case": case.get("name").partition("[")[2].removesuffix("]"),
            "tried": int(about.get("tried", 1)),
            "outcome": next((OUTCOMES[part.tag] for part in case if part.tag in OUTCOMES), KEPT),
            "seconds": float(about["cpu"]),
        }


if __name__ == "__main__":
    main()

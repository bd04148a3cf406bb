"""What was tried to break the software, and what happened: ``python -m studies.reliability``, part of `make faults`.

The tests of faults and of bad input are called what they promise. Their report in JUnit's format becomes the table
``reliability``: one row a case that was tried. Nothing in it is written by hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from e2m.store import studies

OUTCOMES = {"failure": "broken", "error": "broken", "skipped": "not tried"}
"""JUnit's word for the result of a case -> ours; a case without one kept its promise."""

KEPT = "kept"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="reports of pytest --junitxml")
    parser.add_argument("--folder", type=Path, default=studies.FOLDER, help="folder of the table [data/studies]")
    options = parser.parse_args(arguments)
    print(studies.save("reliability", table(options.reports), options.folder, command="make faults"))


def table(reports: list[Path]) -> pd.DataFrame:
    """One row for each case: kind, promise, case, tried, outcome, seconds.

    ``tried`` counts what one case tries, such as the bits that it flips, where the test records that number.
    """
    return pd.DataFrame([row for report in reports for row in _rows(report)])


def _rows(report: Path) -> Iterator[dict]:
    for case in ElementTree.parse(report).iter("testcase"):
        about = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        if "kind" not in about:  # the tests were interrupted here
            continue
        yield {
            "kind": about["kind"],
            "promise": about["promise"],
            "case": case.get("name").partition("[")[2].removesuffix("]"),
            "tried": int(about.get("tried", 1)),
            "outcome": next((OUTCOMES[part.tag] for part in case if part.tag in OUTCOMES), KEPT),
            "seconds": float(case.get("time")),
        }


if __name__ == "__main__":
    main()

"""All timings in one table: ``python -m benchmarks.speed [--quick] [--only GROUP]``, or ``make bench``.

The table becomes the study "speed" (``data/studies``), which the page on speed reads.
"""

import argparse
import time
import traceback
from collections.abc import Sequence

import pandas as pd
import torch

from benchmarks import blur, growth, job, maps, measures, peers, statistics, steps, throughput, timing
from e2m.store import studies

GROUPS = {
    "maps": maps,
    "throughput": throughput,
    "steps": steps,
    "job": job,
    "measures": measures,
    "blur": blur,
    "statistics": statistics,
    "growth": growth,
}
"""Parts of the benchmark; all together take twenty minutes on two cores, and each says how long it took."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every row as it is measured, and save the table of a run at full size."""
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="everything once and as small as possible; nothing is saved"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(GROUPS),
        help="only this group; its rows replace those of the last table",
    )
    options = parser.parse_args(arguments)
    measured, failed = rows(options.only or GROUPS, options.quick)
    table = timing.table(measured)
    missed = table[table["met"].eq(False).fillna(False)]
    print(f"{len(table)} rows, {int(table['met'].sum())} targets met, {len(missed)} missed")
    if len(table) and not options.quick:
        about = provenance()
        if options.only or failed:
            last, before = studies.load("speed")
            fresh = ", ".join(dict.fromkeys(table["row"]))
            table = pd.concat([last[~last["row"].isin(table["row"])], table], ignore_index=True)
            day = before["executed"].split(",")[0]
            earlier = f"; {before['others']}" if "others" in before else ""
            about["others"] = f"all rows but {fresh} are of {day} ({before['hardware']}){earlier}"
        print(studies.save("speed", table, **about))
    if failed:
        again = " ".join(f"--only {name}" for name in failed)
        raise SystemExit(f"failed: {', '.join(failed)}, whose new rows are not kept; mend it, and run with {again}")


def rows(groups: Sequence[str], quick: bool) -> tuple[list[dict], list[str]]:
    """The rows of some groups, printed one by one, and the groups that failed: they cost no other group its rows."""
    measured, failed = [], []
    for name in groups:
        started = time.monotonic()
        part = []
        try:
            for row in GROUPS[name].rows(quick):
                print(line(row), flush=True)
                part.append(row)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        else:
            measured += part
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return measured, failed


def provenance(device: str = "cpu") -> dict[str, str]:
    """The provenance of a table measured on a device."""
    known = f"{torch.cuda.get_device_name()} (CUDA)" if device.startswith("cuda") else "CPU; no GPU was measured"
    return {
        "command": "make bench" if device == "cpu" else "make bench-gpu",
        "device": known,
        "threads": f"{torch.get_num_threads()} of torch on {timing.cores()} cores",
        "peers": peers.versions(),
    }


def line(row: dict) -> str:
    """A row for the terminal."""
    parts = [row["row"], row.get("detector", ""), row["what"], row.get("alternative", "")]
    if not pd.isna(row.get("ratio")):
        target = "" if row.get("target") is None else f", target {row['target']:g}: {'met' if row['met'] else 'MISSED'}"
        parts.append(f"{row['kind']} {row['ratio']:.3g} [{row['ratio_low']:.3g}, {row['ratio_high']:.3g}]{target}")
    if not pd.isna(row.get("ours_seconds")):
        parts.append(f"{1e3 * row['ours_seconds']:.4g} ms")
    if row.get("value") is not None:
        parts.append(f"{row['value']:.3g} {row['unit']}")
    return " | ".join(part for part in parts if part)


if __name__ == "__main__":
    main()

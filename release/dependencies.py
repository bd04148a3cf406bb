"""`make audit-deps`: known vulnerabilities of the locked packages, and their licences."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

LOCK = Path("requirements.lock")
UNSTATED = "not stated"


def main() -> int:
    """Print the report; the exit status is 1 if a vulnerability is known, and 0 if nobody could be asked."""
    for line in licence_lines(bill_of_materials()):
        print(line)
    lines, vulnerable = vulnerability_lines(audit(LOCK))
    print(*lines, sep="\n")
    return int(vulnerable)


def bill_of_materials() -> dict:
    """The packages of this environment with versions and licences, as CycloneDX."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "sbom.json")
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "--output-file", output]
        subprocess.run([sys.executable, "-m", "cyclonedx_py", "environment", *options, sys.executable], check=True)
        return json.loads(output.read_text())


def licence_lines(bill: Mapping) -> list[str]:
    """Licences and the packages under each, the commonest first."""
    by_licence: dict[str, list[str]] = {}
    for package in bill["components"]:
        by_licence.setdefault(_licence(package), []).append(package["name"])
    counted = sorted(by_licence.items(), key=lambda item: (-len(item[1]), item[0]))
    return [f"licence {name}: {len(packages)} packages: {', '.join(sorted(packages))}" for name, packages in counted]


def _licence(package: Mapping) -> str:
    """A package's licence; metadata often say it twice, as identifier and as classifier."""
    entries = [entry.get("license", entry) for entry in package.get("licenses", ())]
    names = [entry.get("expression") or entry.get("id") or entry.get("name", "") for entry in entries]
    spelled = [name for name in names if not name.startswith("License ::")]
    short = {name.rpartition(" :: ")[2].splitlines()[0] for name in spelled or names if name}
    return " and ".join(sorted(short)) or UNSTATED


def audit(lock: Path) -> dict | str:
    """What pip-audit says of every package of a lock, or why it could not ask."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "audit.json")
        options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "--output", output]
        command = [sys.executable, "-m", "pip_audit", "--requirement", lock, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # It ends with status 1 both for a known vulnerability and without a network.
        if output.is_file():
            return json.loads(output.read_text())
    return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1][:200]


def vulnerability_lines(answer: Mapping | str) -> tuple[list[str], bool]:
    """The report on an answer of ``audit``, and whether a vulnerability is known.

    A package that the service does not know counts as not looked up: silence is no all-clear.
    """
    if isinstance(answer, str):
        return [f"vulnerabilities: unknown, the service that lists them was not reached ({answer})"], False
    packages = answer["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    asked = [package for package in packages if "skip_reason" not in package]
    found = [(package, entry) for package in asked for entry in package["vulns"]]
    lines = [
        f"vulnerability {entry['id']}: {package['name']} {package['version']}; "
        f"mended in {', '.join(entry['fix_versions']) or 'no version yet'}"
        for package, entry in found
    ]
    lines.append(f"vulnerabilities: {len(found)} known; {len(asked)} of {len(packages)} packages were looked up")
    if skipped:
        lines[-1] += f"; the service does not know {', '.join(skipped[:5])}{', ...' if len(skipped) > 5 else ''}"
    return lines, bool(found)


if __name__ == "__main__":
    sys.exit(main())

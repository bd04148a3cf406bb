"""The whole workflow, disturbed: it ends in the results of an undisturbed run. Part of `make faults`."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.test_workflow import tree_at

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ROWS = "results/tiny/measures/demo_cnn/cyborg/run-0/noise-gan.parquet"
PAGE = "book/executed/speed.ipynb"
"""What `make` is asked for: the rows of one detector, and a page that reads no results."""

SMALLER = {
    "controls": {},
    "study": {},
    "masker": None,
    "methods": ["CAM"],
    "resamples": 200,
    "dataset_options": {"root": "faces", "csv": "faces.csv", "salience": "people"},
    "share_frozen": False,
    "measures": {"noise": {"amounts": [0.1], "images_per_source": 2}},
}
PATIENCE = 600


class Tree:
    """A checkout with small images, in which `make` is run for one detector and one page."""

    def __init__(self, folder: Path):
        self.folder = tree_at(folder)
        profile = folder / "notebooks" / "params" / "tiny.yaml"
        profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | SMALLER))
        self.rows, self.page = folder / ROWS, folder / PAGE

    def start(self, **options) -> subprocess.Popen:
        scripts = Path(sys.executable).parent
        environment = os.environ | {"PYTHONPATH": str(self.folder), "PATH": f"{scripts}:{os.environ['PATH']}"}
        command = [sys.executable, "workflow/run.py", "--cores", "2", "--workflow-profile", "profiles/local"]
        return subprocess.Popen(
            [*command, "--config", "profile=tiny", "--", ROWS, PAGE],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def run(self, status: int = 0, **options) -> str:
        """What a run says that ends with this status."""
        run = self.start(**options)
        said = run.communicate(timeout=PATIENCE)[0]
        assert run.returncode == status, said[-4000:]
        return said

    def results(self) -> dict[str, bytes]:
        """All rows, maps, checkpoints and tables; lists of images hold the times of files, and no result does."""
        files = sorted(
            path for path in (self.folder / "results").rglob("*") if path.suffix in (".pt", ".nc", ".parquet")
        )
        return {str(path): path.read_bytes() for path in files if path.parent.name != "data"}

    def jobs(self, word: str) -> list[int]:
        """Processes of this tree whose command line contains a word."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                asked = word in (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                here = f"PYTHONPATH={self.folder}" in (process / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            found += [int(process.name)] if asked and here and process.name != str(os.getpid()) else []
        return found

    def wait_for(self, word: str) -> int:
        """The first process of this tree whose command line contains a word, as soon as there is one."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if jobs := self.jobs(word):
                return jobs[0]
            time.sleep(0.1)
        pytest.fail(f"no process of {word!r}")


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    # Not below pytest's folder, which other accounts cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="e2m-faults-"))
    folder.chmod(0o755)
    yield Tree(folder / "e2m")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(tree) -> dict[str, bytes]:
    tree.run()
    return tree.results()


FILES = {
    "a checkpoint": "results/tiny/checkpoints/demo_cnn/cyborg/run-0.pt",
    "maps": "results/tiny/maps/demo_cnn/cyborg/run-0/CAM-real.nc",
    "rows": ROWS,
    "a list of images": "results/tiny/data/test.parquet",
    "the record of the profile": "results/tiny/profile.json",
    "an executed notebook": PAGE,
}


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [flipped, halved, None], ids=["one flipped bit", "half of it", "deleted"])
def test_files_that_are_damaged_between_two_runs_are_named_and_made_again(tree, undisturbed, damage, record_property):
    """A derived file of each kind is damaged or deleted: it is named, made again, and all results are the same."""
    record_property("tried", len(FILES))
    files = [tree.folder / name for name in FILES.values()]
    for path in files:
        content = path.read_bytes()
        path.unlink()
        if damage:
            path.write_bytes(damage(content))
    said = tree.run()
    assert [path for path in files if f"{path}: it " in said] == (files if damage else [])
    assert tree.results() == undisturbed
    assert all(path.is_file() for path in files)


def test_files_that_are_exchanged_between_two_runs_are_named_and_made_again(tree, undisturbed, record_property):
    """Maps and rows of two sources are exchanged: all are named, and all results are the same."""
    maps, rows = tree.folder / FILES["maps"], tree.folder / FILES["rows"]
    pairs = [(maps, maps.with_name("CAM-gan.nc")), (rows, rows.with_name("noise-swap.parquet"))]
    record_property("tried", len(pairs))
    for one, other in pairs:
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
    said = tree.run()
    assert all(f"{path}: it is another file" in said for pair in pairs for path in pair)
    assert tree.results() == undisturbed


@pytest.mark.parametrize("seconds", [8, 20])
def test_a_workflow_that_is_killed_goes_on_to_the_same_results(tree, undisturbed, seconds):
    """The workflow and all of its jobs are killed after some seconds: the next run goes on to the same results."""
    shutil.rmtree(tree.folder / "results")
    run = tree.start()
    time.sleep(seconds)
    for process in [run.pid, *tree.jobs("")]:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    run.communicate()
    tree.run()
    assert tree.results() == undisturbed
    assert not [path for path in (tree.folder / "results").rglob(".*") if path.is_file()]


@pytest.mark.parametrize("word", ["bin/e2m train", "bin/e2m salience", "ipykernel_launcher"])
def test_after_a_job_is_killed_the_next_run_gives_the_same_results(tree, undisturbed, word):
    """A training, an explanation or a kernel is killed: the run fails, and the next one goes on to the same results."""
    if word == "ipykernel_launcher":
        tree.page.unlink()
    else:
        shutil.rmtree(tree.folder / "results" / "tiny" / ("checkpoints" if "train" in word else "maps"))
    run = tree.start()
    os.kill(tree.wait_for(word), signal.SIGKILL)
    said = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode != 0
    assert word != "ipykernel_launcher" or "the kernel died" in said
    tree.run()
    assert tree.results() == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_workflow_says_how_to_go_on_and_does(tree, undisturbed, number):
    """SIGINT or SIGTERM during a training: all jobs end, one line says how to resume, and the next run goes on."""
    shutil.rmtree(tree.folder / "results" / "tiny" / "checkpoints")
    run = tree.start()
    tree.wait_for("bin/e2m train")
    os.kill(run.pid, number)
    said = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == 130
    assert said.rstrip().splitlines()[-1].startswith("e2m: stopped. Finished results are kept")
    assert tree.jobs("bin/e2m train") == []
    tree.run()
    assert tree.results() == undisturbed


def test_of_two_runs_at_once_the_second_says_so(tree, undisturbed):
    """Two runs at once in one tree: the second says so and does nothing; the first ends in the same results."""
    tree.rows.unlink()
    first = tree.start()
    tree.wait_for("snakemake")
    assert "`make` already runs in" in tree.run(status=1)
    assert first.communicate(timeout=PATIENCE)[0] is not None
    assert first.returncode == 0
    assert tree.results() == undisturbed


def test_a_clock_that_jumps_changes_no_result(tree, undisturbed):
    """Half of the results are ten years old and half are of the future: the run ends in the same results."""
    for number, path in enumerate(undisturbed):
        when = time.time() + (1 if number % 2 else -1) * 10 * 365 * 86400
        os.utime(path, (when, when))
    tree.run()
    assert tree.results() == undisturbed


@pytest.mark.skipif(os.getuid() != 0, reason="needs another account to write as")
def test_results_that_cannot_be_written_are_named_and_made_by_the_next_run(tree, undisturbed):
    """Results are read-only: the run fails with one line that names the file, and the next one goes on."""
    folder = tree.rows.parent
    tree.rows.unlink()
    subprocess.run(["chmod", "-R", "a+rwX", str(tree.folder)], check=True)
    subprocess.run(["chmod", "a-w", str(folder)], check=True)
    said = tree.run(status=1, user=65534, group=65534)
    assert f"{tree.rows}: not written (Permission denied)" in said
    subprocess.run(["chmod", "a+w", str(folder)], check=True)
    tree.run()
    assert tree.results() == undisturbed


def test_on_a_full_disk_a_file_is_named_and_the_next_run_goes_on(tree, undisturbed):
    """No file can become larger than some bytes: the run fails and names a file, and the next one goes on."""
    shutil.rmtree(tree.folder / "results" / "tiny" / "checkpoints")
    said = tree.run(status=1, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 15, 1 << 15)))
    assert "not written (File too large)" in said
    tree.run()
    assert tree.results() == undisturbed

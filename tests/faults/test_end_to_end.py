"""The whole workflow, disturbed: it ends in the results of an undisturbed run. Part of `make faults`."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.test_workflow import tree_at

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ROWS = "results/tiny/measures/demo_cnn/cyborg/run-0/noise-gan.parquet"
PAGE = "book/executed/reliability.ipynb"
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
MADE = ("results", "book/executed", ".snakemake")
"""Folders that a run writes."""

PATIENCE = 3600
"""Seconds after which something hangs; a run takes half a minute on a quiet machine."""

TRAINING, SALIENCE, KERNEL = "bin/e2m train", "bin/e2m salience", "ipykernel_launcher"
"""Words in the command lines of the jobs."""


class Tree:
    """A checkout with small images, in which `make` is run for one detector and one page."""

    def __init__(self, folder: Path):
        self.folder = tree_at(folder)
        profile = folder / "notebooks" / "params" / "tiny.yaml"
        profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | SMALLER))
        self.kept = folder.with_name("kept")
        self.rows, self.page = folder / ROWS, folder / PAGE
        self.undisturbed: dict[str, bytes] = {}

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
        return said_by(self.start(**options), status)

    def finish(self) -> None:
        """The undisturbed run: what it writes is kept for every case."""
        self.run()
        self.undisturbed = self.results()
        for name in MADE:
            shutil.copytree(self.folder / name, self.kept / name, symlinks=True)

    def restore(self) -> None:
        """The folder as the undisturbed run left it, whatever the case before did."""
        for name in MADE:
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.kept / name, self.folder / name, symlinks=True)

    def forget(self, *folders: str) -> None:
        """Delete results below these folders."""
        for name in folders:
            shutil.rmtree(self.folder / "results" / "tiny" / name)

    def results(self) -> dict[str, bytes]:
        """All rows, maps, checkpoints and tables; lists of images hold the times of files, and no result does."""
        files = sorted(
            path for path in (self.folder / "results").rglob("*") if path.suffix in (".pt", ".nc", ".parquet")
        )
        return {str(path): path.read_bytes() for path in files if path.parent.name != "data"}

    def goes_on(self) -> str:
        """What the next run says. It ends in the results of the undisturbed one, with the page, without leftovers."""
        said = self.run()
        assert self.results() == self.undisturbed
        assert self.page.is_file()
        assert not [path for path in (self.folder / "results").rglob(".*") if path.is_file()]
        return said

    def jobs(self, word: str) -> list[int]:
        """Processes of this tree whose command line contains a word."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                asked = word in (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                here = f"PYTHONPATH={self.folder}" in (process / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            found += [int(process.name)] if asked and here and process.name != str(os.getpid()) else []
        return found

    def wait_for(self, *words: str) -> Iterator[int]:
        """For each word, the first process of this tree whose command line contains it, as soon as there is one."""
        waiting, end = [*words], time.monotonic() + PATIENCE
        while waiting and time.monotonic() < end:
            for word in [*waiting]:
                if jobs := self.jobs(word):
                    waiting.remove(word)
                    yield jobs[0]
            time.sleep(0.1)
        assert not waiting, f"no process of {waiting}"

    def wait_for_end_of(self, word: str) -> None:
        """A kernel whose notebook was ended notices within seconds."""
        end = time.monotonic() + 60
        while self.jobs(word) and time.monotonic() < end:
            time.sleep(0.1)
        assert self.jobs(word) == []


def said_by(run: subprocess.Popen, status: int) -> str:
    """What a run has said when it ends with this status."""
    said = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == status, said[-4000:]
    return said


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[Tree]:
    folder = tmp_path_factory.mktemp("tree")
    tree = Tree(folder / "e2m")
    tree.finish()
    yield tree
    shutil.rmtree(folder)


@pytest.fixture
def tree(finished) -> Tree:
    """The tree after an undisturbed run; a case makes anew what its fault destroys, and no more."""
    finished.restore()
    return finished


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


@pytest.mark.parametrize("deleted", [False, True], ids=["damaged", "deleted"])
def test_files_that_are_damaged_between_two_runs_are_named_and_made_again(tree, deleted, record_property):
    """A derived file of each kind has one flipped bit, or half of its bytes, or is deleted: it is named and made again.

    ``test_files.py`` damages each kind of file in each way.
    """
    record_property("tried", len(FILES))
    files = [tree.folder / name for name in FILES.values()]
    for number, path in enumerate(files):
        content = path.read_bytes()
        path.unlink()
        if not deleted:
            path.write_bytes((flipped, halved)[number % 2](content))
    said = tree.goes_on()
    assert [path for path in files if f"{path}: it is damaged" in said or f"{path}: it has no seal" in said] == (
        [] if deleted else files
    )
    assert all(path.is_file() for path in files)


def test_files_that_are_exchanged_between_two_runs_are_named_and_made_again(tree, record_property):
    """Maps and rows of two sources are exchanged: all are named, and all results are the same."""
    maps, rows = tree.folder / FILES["maps"], tree.folder / FILES["rows"]
    pairs = [(maps, maps.with_name("CAM-gan.nc")), (rows, rows.with_name("noise-swap.parquet"))]
    record_property("tried", len(pairs))
    for one, other in pairs:
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
    said = tree.goes_on()
    assert all(f"{path}: it is another file" in said for pair in pairs for path in pair)


@pytest.mark.parametrize(
    ("word", "made"), [(TRAINING, ["checkpoints", "maps", "measures"]), (SALIENCE, ["maps", "measures"])]
)
def test_a_workflow_that_is_killed_goes_on_to_the_same_results(tree, word, made):
    """The workflow and all of its jobs are killed during a job: the next run says so, and goes on."""
    tree.forget(*made)
    run = tree.start()
    list(tree.wait_for(word))
    for process in [run.pid, *tree.jobs("")]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    run.communicate()
    assert "an earlier run ended without a word" in tree.goes_on()


@pytest.mark.parametrize(
    ("words", "made"), [((TRAINING, KERNEL), ["checkpoints"]), ((SALIENCE,), ["maps", "measures"])]
)
def test_after_a_job_is_killed_the_next_run_gives_the_same_results(tree, words, made, record_property):
    """A training, an explanation or a kernel is killed: the run fails, and the next one goes on to the same results."""
    record_property("tried", len(words))
    tree.forget(*made)
    if KERNEL in words:
        tree.page.unlink()
    run = tree.start()
    for process in tree.wait_for(*words):
        os.kill(process, signal.SIGKILL)
    said = said_by(run, 1)
    assert ("the kernel died" in said) == (KERNEL in words)
    tree.goes_on()


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, TRAINING), (signal.SIGTERM, KERNEL)], ids=["SIGINT", "SIGTERM"]
)
def test_an_interrupted_workflow_says_how_to_go_on_and_does(tree, number, word):
    """SIGINT or SIGTERM during a job: all jobs end, one line says how to resume, and the next run goes on."""
    if word == KERNEL:
        tree.page.unlink()
    else:
        tree.forget("checkpoints")
    run = tree.start()
    list(tree.wait_for(word))
    os.kill(run.pid, number)
    said = said_by(run, 130)
    assert said.rstrip().splitlines()[-1].startswith("e2m: stopped. Finished results are kept")
    tree.wait_for_end_of(word)
    tree.goes_on()


def test_of_two_runs_at_once_the_second_says_so(tree):
    """Two runs at once in one tree: the second says so and does nothing; the first ends in the same results."""
    tree.page.unlink()
    first = tree.start()
    list(tree.wait_for("bin/snakemake"))
    assert "`make` already runs in" in tree.run(status=1)
    said_by(first, 0)
    assert tree.page.is_file()
    assert tree.results() == tree.undisturbed


def test_a_clock_that_jumps_changes_no_result(tree):
    """Half of the results are ten years old and half are of the future: the run ends in the same results."""
    for number, path in enumerate(tree.undisturbed):
        when = time.time() + (1 if number % 2 else -1) * 10 * 365 * 86400
        os.utime(path, (when, when))
    tree.goes_on()


def obeying():
    """Permissions hold for the program that starts, even for root: it may not override them any more."""
    drop, override, search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in (override, search) if os.getuid() == 0 else ():
        if ctypes.CDLL(None, use_errno=True).prctl(drop, capability):
            raise OSError(ctypes.get_errno(), "prctl")


def test_results_that_cannot_be_written_are_named_and_made_by_the_next_run(tree):
    """Results are read-only: the run fails with one line that names the file, and the next one goes on."""
    folder = tree.rows.parent
    tree.forget("measures")
    folder.mkdir(parents=True)
    # Snakemake removes empty folders of a job that failed.
    (folder / "of_the_user.txt").touch()
    folder.chmod(0o555)
    said = tree.run(status=1, preexec_fn=obeying)
    assert "not written (Permission denied)" in said
    assert str(folder) in said
    folder.chmod(0o755)
    (folder / "of_the_user.txt").unlink()
    tree.goes_on()


def test_on_a_full_disk_a_file_is_named_and_the_next_run_goes_on(tree):
    """No file can become larger than some bytes: the run fails and names a file, and the next one goes on."""
    tree.forget("checkpoints")
    said = tree.run(status=1, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 15, 1 << 15)))
    assert "not written (File too large)" in said
    tree.goes_on()

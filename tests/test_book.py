"""The whole: every notebook executed and the book built, from an empty tree, twice with the same tables."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from e2m.store.paths import CHECKOUT

pytestmark = pytest.mark.slow
LEFT_OUT = (".venv*", ".git", "results", "_build", "executed", ".snakemake", "__pycache__", ".pytest_cache")
BUILT = ("demo", "planted")  # data sets


def fresh_tree(folder: Path) -> Path:
    return shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, *BUILT))


def snakemake(tree: Path, *targets: str) -> subprocess.Popen:
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PYTHONPATH": str(tree), "PATH": f"{scripts}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "profile=smoke"]
    options = ["--rerun-incomplete", "--nolock", "--quiet", "all"]
    with (tree / "log").open("a") as log:
        return subprocess.Popen(
            [*command, *options, "--", *targets],
            cwd=tree,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finish(tree: Path, *targets: str) -> None:
    assert snakemake(tree, *targets).wait() == 0, (tree / "log").read_text()[-4000:]


def tables(tree: Path) -> dict[str, str]:
    """Rows and tables, by their hashes; the lists of images hold the times of files, which no result depends on."""
    files = sorted(path for path in (tree / "results").rglob("*.parquet") if path.parent.name != "data")
    return {str(path.relative_to(tree)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    tree = fresh_tree(tmp_path_factory.mktemp("built") / "e2m")
    finish(tree)
    return tree


def test_the_book_is_built_without_warnings_and_complete(built):
    pages = re.findall(r"(?:file|root): (\S+)", (CHECKOUT / "book" / "_toc.yml").read_text())
    assert [page for page in pages if not (built / "_build" / "html" / f"{page}.html").is_file()] == []


class Page(HTMLParser):
    """The sources and descriptions of a page's images, and the scripts and styles that it loads."""

    def __init__(self, page: Path):
        super().__init__()
        self.images, self.loaded = [], []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append((attributes["src"], attributes.get("alt", "")))
        if tag in ("script", "link") and attributes.get("rel") != "canonical":
            self.loaded.append(attributes.get("src") or attributes.get("href") or "")


def test_every_image_exists_and_is_described(built):
    for page in (built / "_build" / "html").rglob("*.html"):
        for source, alt in Page(page).images:
            assert (page.parent / source).is_file(), (page, source)
            assert alt.strip(), (page, source)


def test_pages_need_no_network(built):
    for page in (built / "_build" / "html").rglob("*.html"):
        assert not [address for address in Page(page).loaded if "//" in address], page


@pytest.fixture(scope="module")
def phone(built):
    """Opens a page of the book in a window as narrow as a phone's."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=quiet) as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})

        def show(name: str):
            page.goto((built / "_build" / "html" / f"{name}.html").as_uri())
            page.wait_for_timeout(500)
            return page

        yield show


@pytest.mark.parametrize("name", ["intro", "reading", "executed/noise", "executed/model_selection", "extending"])
def test_a_phone_shows_the_whole_width_to_everyone(phone, name):
    from axe_playwright_python.sync_playwright import Axe

    page = phone(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    violations = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in violations if rule["impact"] != "minor"] == []


def test_nothing_is_left_to_do(built):
    assert (
        "Nothing to be done"
        in subprocess.run(
            [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--config", "profile=smoke"],
            cwd=built,
            env=os.environ | {"PYTHONPATH": str(built)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_a_run_killed_in_the_middle_of_a_training_gives_the_same_tables(built, tmp_path):
    tree = fresh_tree(tmp_path / "killed")
    expected = tables(built)
    # One that reads rows of all detectors and controls, and one that reads their maps, for the sake of time.
    targets = [name for name in expected if name.endswith(("/tables/noise.parquet", "/tables/stability.parquet"))]
    running = snakemake(tree, *targets)
    deadline = time.monotonic() + 300
    while not (begun := list(tree.glob("results/**/*.resume"))):
        assert running.poll() is None, (tree / "log").read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # The group has Snakemake, the runner and its kernel.
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(1)
    assert begun[0].is_file()
    assert not begun[0].with_suffix(".pt").exists()
    finish(tree, *targets)
    written = tables(tree)
    assert set(targets) < set(written)
    assert written.items() <= expected.items()

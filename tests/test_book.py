"""The whole: every notebook executed and the book built, from an empty tree, twice with the same tables."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import pandas as pd
import pytest

from e2m.store.paths import CHECKOUT
from tests import consistency

pytestmark = [pytest.mark.slow, pytest.mark.longest]
LEFT_OUT = (".venv*", ".git", "results", "_build", "executed", ".snakemake", "__pycache__", ".pytest_cache")
BUILT = ("demo", "planted")  # data sets


def fresh_tree(folder: Path) -> Path:
    return shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, *BUILT))


def without_network() -> list[str]:
    """What starts a command in a network namespace of its own, which has no way out; [] where that is not allowed."""
    commands = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])
    quiet = {"stderr": subprocess.DEVNULL}
    usable = (one for one in commands if shutil.which("unshare") and not subprocess.call([*one, "true"], **quiet))
    return next(usable, [])


def snakemake(tree: Path, *targets: str, before: Sequence[str] = ()) -> subprocess.Popen:
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PYTHONPATH": str(tree), "PATH": f"{scripts}:{os.environ['PATH']}"}
    command = [*before, sys.executable, "-m", "snakemake", "--cores", "2", "--config", "profile=smoke"]
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


def finish(tree: Path, *targets: str, before: Sequence[str] = ()) -> None:
    assert snakemake(tree, *targets, before=before).wait() == 0, (tree / "log").read_text()[-4000:]


def tables(tree: Path) -> dict[str, str]:
    """Rows and tables, by their hashes; the lists of images hold the times of files, which no result depends on."""
    files = sorted(path for path in (tree / "results").rglob("*.parquet") if path.parent.name != "data")
    return {str(path.relative_to(tree)): sha256(path.read_bytes()).hexdigest() for path in files}


def leave_editors_open(folder: Path, name: str) -> None:
    """What editors keep beside a file while somebody writes it; the lock is a link to nowhere."""
    (folder / f".#{name}").symlink_to("anna@machine.123:456")
    for other in (f"#{name}#", f"{name}~", f".{name}.swp"):
        (folder / other).write_bytes(b"\0half a sentence")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    tree = fresh_tree(tmp_path_factory.mktemp("built") / "e2m")
    leave_editors_open(tree / "book", "intro.md")
    leave_editors_open(tree / "notebooks", "noise.ipynb")
    finish(tree, before=without_network())
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


def test_making_the_book_needs_no_network(built):
    """All of it ran in a network namespace of its own: from the data through training and salience to the book."""
    if not (command := without_network()):
        pytest.skip("no network namespaces here: the book was made with the network that there is")
    assert (built / "_build" / "html" / "index.html").is_file()
    reach = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=5)"
    reached = subprocess.run([*command, sys.executable, "-c", reach], capture_output=True, text=True, check=False)
    assert "Network is unreachable" in reached.stderr


def test_every_image_exists_and_is_described(built):
    for page in (built / "_build" / "html").rglob("*.html"):
        for source, alt in Page(page).images:
            assert (page.parent / source).is_file(), (page, source)
            assert alt.strip(), (page, source)


def test_the_book_carries_its_manifest_and_a_bundle_for_each_notebook(built):
    book = built / "_build" / "html"
    executed = sorted(path.stem for path in (built / "book" / "executed").glob("*.ipynb"))
    listed = json.loads((book / "manifest.json").read_text())
    assert sorted(listed["pages"]) == executed
    assert all(page["entries"] for page in listed["pages"].values())
    # Jupyter Book adds the redirection of index.html afterwards.
    pages = {str(path.relative_to(book)) for path in book.rglob("*.html")}
    assert pages - {"index.html"} == {name for name in listed["files"] if name.endswith(".html")} - {"index.html"}
    assert sorted(path.stem for path in (book / "_bundles").glob("*.zip")) == executed


def test_code_is_linked_to_the_reference(built):
    page = (built / "_build" / "html" / "executed" / "noise.html").read_text()
    assert 'href="../api.html#e2m.salience.engine.explain"' in page


def test_pages_need_no_network(built):
    for page in (built / "_build" / "html").rglob("*.html"):
        assert not [address for address in Page(page).loaded if "//" in address], page


@pytest.fixture(scope="module")
def phone(built, browser):
    """Opens a page of the book in a window as narrow as a phone's."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    errors = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))

    def show(name: str):
        errors.clear()
        page.goto((built / "_build" / "html" / f"{name}.html").as_uri())
        page.wait_for_timeout(500)
        assert errors == []
        return page

    return show


def stored(built: Path, image: str, detector: str, method: str, measure: str, level: str, variant: str) -> float:
    """One value of the tidy rows, read past all that wrote the explorer's data."""
    regime, run = detector.split(".")
    folder = built / "results" / "smoke" / "measures" / "demo_cnn" / regime / f"run-{run}"
    (file,) = [file for file in folder.glob(f"{measure}-*.parquet") if image in set(pd.read_parquet(file)["image"])]
    rows = pd.read_parquet(file).astype(str)
    rows = rows[(rows["image"] == image) & (rows["level"] == level) & (rows["variant"] == variant)]
    salience, target = ("", "") if variant == "score" else (method, "predicted")
    (value,) = rows.loc[(rows["salience"] == salience) & (rows["target"] == target), "value"]
    return float(value)


SHOWN = "(document.getElementById('e2m-explorer').dataset.shown || '')"


class Keyboard:
    """The explorer, opened from a file and driven by keys alone; ``state`` is what it shows."""

    def __init__(self, page):
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))

    def press(self, *keys: str) -> dict[str, str]:
        before = self.page.evaluate(SHOWN)
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_function(f"before => {SHOWN} !== before", arg=before)
        return self.state

    def until(self, selector: str) -> None:
        """Tab on until something has the focus."""
        for _ in range(12):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"the tab key does not reach {selector}")

    @property
    def state(self) -> dict[str, str]:
        return dict(parse_qsl(self.page.evaluate(SHOWN).removeprefix("#"), keep_blank_values=True))

    def numbers(self, side: str) -> tuple[str, str]:
        """P(synthetic) and similarity of the detector on one side, as they stand there."""
        return tuple(
            self.page.text_content(f".explorer-{side} .explorer-{part} strong") for part in ("answer", "similarity")
        )


def test_the_explorer_is_driven_by_keys_from_a_file_and_shows_stored_numbers(phone, built, expect):
    page = phone("executed/explorer")
    keys = Keyboard(page)
    # Nothing of it is loaded before the reader asks for it.
    assert (
        page.evaluate("performance.getEntriesByType('resource').some(({name}) => name.includes('explorer_data'))")
        is False
    )
    expect(page.locator(".tag_still img")).to_be_visible()
    page.focus(".explorer-load")
    first = keys.press("Enter")
    expect(page.locator(".tag_still img")).to_have_count(0)
    assert page.evaluate("document.activeElement.name") == "explorer-images"
    second = keys.press("ArrowRight")
    assert second["image"] != first["image"]
    assert {**second, "image": first["image"]} == first
    keys.until("[name=explorer-levels]")
    state = keys.press("ArrowRight")
    assert (state["measure"], state["level"]) == ("noise", "0.5")
    # The same button has the focus, although the chart was drawn again.
    assert page.evaluate("document.activeElement.value") == "0.5"
    keys.until("select")
    assert keys.press("ArrowDown")["a"] != state["a"]
    keys.until("select")
    state = keys.press("ArrowDown")
    for side in "ab":
        about = [state["image"], state[side], state["method"], state["measure"], state["level"]]
        answer, similar = keys.numbers(side)
        assert float(answer.split("→")[1]) == pytest.approx(stored(built, *about, "score"), abs=0.00501)
        assert float(similar) == pytest.approx(stored(built, *about, "ssim"), abs=0.00501)
    page.wait_for_function(
        "number => document.querySelector('[role=status]').textContent.includes(number)", arg=similar
    )
    assert keys.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []


def test_an_address_opens_the_explorer_at_what_it_names(phone, expect):
    page = phone("executed/explorer")
    keys = Keyboard(page)
    page.evaluate("location.hash = 'image=nobody&measure=transformations&level=rotate_left&a=fixed_map.1&b=cyborg.1'")
    page.wait_for_selector("[data-shown]", state="attached")
    state = keys.state
    assert (state["measure"], state["level"], state["a"], state["b"]) == (
        "transformations",
        "rotate_left",
        "fixed_map.1",
        "cyborg.1",
    )
    assert page.text_content(".explorer-warning") == "The address names what is not here: image=nobody."
    assert page.text_content(".explorer-b figure:last-child figcaption") == "map now, moved back"
    # Measures change the images of controls in the in-set sources only.
    page.locator("[name=explorer-images]").last.check(force=True)
    page.wait_for_selector(".explorer-a .explorer-missing")
    expect(page.locator(".explorer-a canvas").first).to_be_hidden()
    expect(page.locator(".explorer-b canvas").first).to_be_visible()
    assert keys.errors == []


def test_without_javascript_a_sentence_and_a_figure_stand_in_for_the_explorer(phone, built, expect):
    context = phone("executed/explorer").context.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((built / "_build" / "html" / "executed" / "explorer.html").as_uri())
    assert "needs JavaScript" in page.inner_text("#e2m-explorer")
    expect(page.locator(".tag_still img")).to_be_visible()
    expect(page.locator(".explorer-load")).to_be_hidden()
    context.close()


def violations(page) -> list[tuple[str, str]]:
    """What axe finds that is more than minor."""
    from axe_playwright_python.sync_playwright import Axe

    # Without "preload", which asks for style sheets anew: from a file, each is an error that may reach the next page.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    rules = [rule for rule in found if rule["impact"] != "minor"]
    return [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in rules]


@pytest.mark.parametrize("name", ["intro", "reading", "executed/noise", "executed/model_selection", "extending"])
def test_a_phone_shows_the_whole_width_to_everyone(phone, name):
    page = phone(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []


def test_pages_notebooks_and_tables_agree(built):
    assert consistency.violations(built) == []


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
    shutil.copytree(built / "data" / "demo", tree / "data" / "demo")
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

"""The report of an audit: its data follow the schema, and its page is driven in Chromium as people use it."""

import json
import re
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from e2m.audit import data, page, pictures
from e2m.audit.galleries import galleries, of_images
from e2m.audit.report import SCHEMA, Group, Report, Shown, Verdict, write
from e2m.store.paths import CHECKOUT

MARKUP = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
RUNS = {"guided": 3, "plain": 2}
IMAGES = 24


def scores_of(groups: dict[str, int]) -> pd.DataFrame:
    """Tidy rows: image number n of run r scores what n and r say; the last image of "plain" is missing in run 0."""
    rows = [
        {
            "regime": group,
            "detector": "net",
            "run": run,
            "image": f"{number:02d}.png",
            "label": ("authentic", "synthetic")[number % 2],
            "source": ("camera", MARKUP)[number % 2],
            "value": (number * 7 + run * 5) % 20 / 20,
        }
        for group, runs in groups.items()
        for run in range(runs)
        for number in range(IMAGES)
    ]
    frame = pd.DataFrame(rows)
    missing = (frame["regime"] == "plain") & (frame["run"] == 0) & (frame["image"] == f"{IMAGES - 1:02d}.png")
    right = (frame["value"] > 0.5) == (frame["label"] == "synthetic")
    return frame.assign(
        **{"variant": "score", "measure": "score", "salience": "", "region": "", "level": "", "correct": right},
        value=frame["value"].mask(missing),
    )


def look_of(groups: dict[str, int], side: int = 7):
    def look(names):
        for name in names:
            number = int(name[:2])
            random = np.random.default_rng(number)
            maps = {group: random.random((runs, side, side + 1)) for group, runs in groups.items()}
            next(iter(maps.values()))[0] = np.nan if number == 3 else 0.5
            scores = {group: random.random(runs) for group, runs in groups.items()}
            picture = random.integers(0, 255, (40, 32, 3), np.uint8)
            yield Shown(name, picture, maps, scores, {"true region": random.random((32, 32))})

    return look


def means_of(groups) -> pd.DataFrame:
    rows = [("accuracy ↑", "", "higher"), ("(a) spatial entropy ↓", "a", "lower"), ("(c) SSIM ↑", "c", "higher")]
    rows.append(("(l) energy in the true region", "l", ""))
    table = pd.DataFrame(
        [(*row, group, 0.5 + 0.1 * at) for row in rows for at, group in enumerate(groups)],
        columns=["row", "letter", "better", "group", "mean"],
    )
    table = table.assign(low=table["mean"] - 0.05, high=table["mean"] + 0.05, runs=2, images=IMAGES, missing=1, note="")
    table.loc[table.index[-1], ["mean", "low", "high", "note"]] = np.nan, np.nan, np.nan, "one run"
    return table


def differences_of(groups) -> pd.DataFrame:
    """Lines that are higher, lower, undecided and not comparable, in this order."""
    ends = [(0.1, 0.05, 0.15), (-0.1, -0.15, -0.05), (0.01, -0.05, 0.07), (np.nan, np.nan, np.nan)]
    means = means_of(groups[:1])
    table = means[["row", "letter", "better"]].assign(group=groups[0], against=groups[-1])
    table[["difference", "low", "high"]] = ends
    table = table.assign(probability_greater=0.9, cliffs_delta=0.8, cliffs_low=0.1, cliffs_high=1.0, p=0.1, p_holm=0.3)
    return table.assign(p_smallest=0.1, runs=2, images=float(IMAGES), missing=0, note=["", "", "few runs", "one run"])


def report_of(groups: dict[str, int], preferred: str | None = None) -> Report:
    names, scores = list(groups), scores_of(groups)
    maps = scores.assign(variant="spatial")
    images = of_images(scores, {f"{n:02d}.png": f"person {n // 2}" for n in range(IMAGES)}, maps, {})
    several = len(names) > 1
    equal = pd.DataFrame(
        [(names[0], names[-1], MARKUP, "equal", 0.01, -0.02, 0.04, 0.05, 0.01, 2, IMAGES, 0.7, 0.9, "")],
        columns=list(data.COLUMNS["equal_accuracy"]),
    )
    counts = [(name, f"{run}.pt", "camera", 12, run, 0, 1) for name in names for run in range(groups[name])]
    return Report(
        title=f"Audit of {MARKUP}",
        groups=[
            Group(name, "mine:build", [f"{r}.pt" for r in range(groups[name])], {"layer": "conv"}) for name in names
        ],
        method="Grad-CAM",
        verdict=Verdict(
            preferred, ["They are equally accurate."], "About 12 more runs would decide it.", ["One.", "Two."]
        ),
        equal=equal if several else equal[:0],
        means=means_of(names),
        differences=differences_of(names) if several else differences_of([names[0]] * 2)[:0],
        controls=pd.DataFrame(
            [
                ("(c) SSIM ↑", group, control, mean, np.nan, np.nan, "known maps: no interval")
                for group in names
                for control, mean in (("random maps", 0.0), ("one arbitrary map", 1.0))
            ],
            columns=["row", "group", "control", "mean", "low", "high", "note"],
        ),
        other_methods=means_of(names)[lambda table: table["letter"] == "a"].assign(method="CAM"),
        found=pd.DataFrame(
            [("camera", "authentic", 12, 12), (MARKUP, "synthetic", 12, 12)], columns=data.COLUMNS["found"]
        ),
        left_out=pd.DataFrame([("*.txt", 3, "no images")], columns=data.COLUMNS["left_out"]),
        counts=pd.DataFrame(counts, columns=data.COLUMNS["counts"]),
        findings=[SimpleNamespace(level="warning", about=f"{names[0]}, weights", text=f"{MARKUP} did not load")],
        images=images,
        galleries=galleries(images, count=3),
        look=look_of(groups),
        scores=[scores],
        rows=[scores[scores["regime"] == name] for name in names],
        provenance={"data": "a folder", "code": "e2m"},
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of(RUNS)


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    return write(report, tmp_path_factory.mktemp("audit")).parent


# Data


def test_the_data_follow_the_schema_and_say_which_it_is(folder):
    content = json.loads((folder / "audit.json").read_text())
    data.check(content)
    assert content["schema"] == SCHEMA == "e2m-audit-1"
    assert content["verdict"]["headline"] == "No reason to prefer either"


def test_a_number_that_is_missing_is_null_and_has_a_reason(folder):
    content = json.loads((folder / "audit.json").read_text())
    last = content["means"][-1]
    assert (last["mean"], last["low"], last["note"]) == (None, None, "one run")
    assert data.records(pd.DataFrame({"mean": [np.inf]}), ("mean", "note")) == [{"mean": None, "note": data.NO_REASON}]


def test_a_minus_is_one_and_a_hyphen_stays_one():
    assert page.minus("AUC -0.003, -1 to +2; run-1, 2026-11-26, 3-4") == "AUC −0.003, −1 to +2; run-1, 2026-11-26, 3-4"


def test_counts_are_whole_numbers_in_json(folder):
    assert '"images": 24,' in (folder / "audit.json").read_text()
    assert "24.0" not in (folder / "audit.json").read_text()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda content: content["means"][-1].update(note=""), "$.means[7].note"),
        (lambda content: content["verdict"].update(preferred=3), "$.verdict.preferred"),
        (lambda content: content.update(more=1), "$"),
        (lambda content: content["images"][0].pop("score"), "$.images[0]"),
        (lambda content: content["findings"][0].update(level="grave"), "$.findings[0].level"),
    ],
)
def test_data_that_break_the_schema_are_refused_with_their_path(folder, change, path):
    content = json.loads((folder / "audit.json").read_text())
    change(content)
    with pytest.raises(ValueError, match=re.escape(f"schema: {path}: ")):
        data.check(content)


def test_refused_data_leave_the_files_of_before(report, tmp_path):
    write(report, tmp_path)
    before = (tmp_path / "audit.json").read_bytes()
    with pytest.raises(ValueError, match="schema"):
        write(replace(report, method=3), tmp_path)
    assert (tmp_path / "audit.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("audit.html", "audit.json", "rows.parquet", "scores.parquet"),
    ]


def described(schema: dict, path: str = "$"):
    """Every property of a schema, with its path and description."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}", below.get("description")
        yield from described(below, f"{path}.{name}")
    if "items" in schema:
        yield from described(schema["items"], f"{path}[]")


def test_the_schema_documents_every_field():
    schema = json.loads(resources.files("e2m.audit").joinpath("schema.json").read_text())
    fields = dict(described(schema))
    assert [path for path, words in fields.items() if not words] == []
    for table, columns in data.COLUMNS.items():
        assert {f"$.{table}[].{name}" for name in columns} <= set(fields)


def test_rows_are_tidy_and_name_the_group(folder):
    rows = pd.read_parquet(folder / "rows.parquet")
    assert rows.groupby("group").size().to_dict() == {name: runs * IMAGES for name, runs in RUNS.items()}
    assert "regime" not in rows
    assert pd.read_parquet(folder / "scores.parquet")["value"].isna().sum() == 1


@pytest.mark.parametrize(
    ("better", "low", "high", "favoured", "words"),
    [
        ("higher", 0.1, 0.2, "A", "A is higher than B: better for A"),
        ("higher", -0.2, -0.1, "B", "A is lower than B: better for B"),
        ("lower", 0.1, 0.2, "B", "A is higher than B: better for B"),
        ("", 0.1, 0.2, None, "A is higher than B: neither direction is better"),
        ("higher", -0.1, 0.2, None, "A and B are not told apart"),
        ("higher", 0.0, 0.2, None, "A and B are not told apart"),
        ("higher", None, None, None, "A and B cannot be compared: one run"),
    ],
)
def test_a_difference_in_words(better, low, high, favoured, words):
    row = {"better": better, "low": low, "high": high, "group": "A", "against": "B", "note": "one run"}
    assert (data.favours(row), data.in_words(row)) == (favoured, words)


def test_a_difference_that_chance_explains_among_so_many_favours_nobody():
    row = {"better": "higher", "low": 0.1, "high": 0.2, "group": "A", "against": "B", "note": ""}
    assert data.favours(row | {"p_corrected": 0.05}) == "A"
    assert data.favours(row | {"p_corrected": 0.06}) is None
    assert "no longer after correction" in data.in_words(row | {"p_corrected": 0.06})


def test_an_effect_without_an_interval_is_not_called_large(report):
    alone = report.differences.assign(cliffs_delta=1.0, cliffs_low=np.nan, cliffs_high=np.nan, note="one run")
    content = data.as_data(replace(report, differences=alone), SCHEMA)
    data.check(content)
    assert {row["effect"] for row in content["differences"]} == {None}
    assert {row["effect"] for row in data.as_data(report, SCHEMA)["differences"]} == {"large"}


def test_the_most_serious_findings_come_first(report):
    levels = ("note", "stop", "warning")
    findings = [SimpleNamespace(level=level, about="weights", text="text") for level in levels]
    content = data.as_data(replace(report, findings=findings), SCHEMA)
    assert [finding["level"] for finding in content["findings"]] == ["stop", "warning", "note"]


def test_effects_in_words():
    assert [data.effect(delta) for delta in (0.0, -0.2, 0.4, -1.0, None)] == [
        *("negligible", "small", "medium", "large", None),
    ]


@pytest.mark.parametrize(
    ("groups", "preferred", "words"),
    [
        (["A"], None, "Report card of A"),
        (["A", "B"], "B", "Prefer B"),
        (["A", "B"], None, "No reason to prefer either"),
        (["A", "B", "C"], None, "No reason to prefer any"),
    ],
)
def test_the_verdict_in_a_few_words(groups, preferred, words):
    assert data.headline(Verdict(preferred, []), groups) == words


def test_what_the_measures_favour_is_counted_without_accuracy_and_without_lines_that_have_no_better_side(report):
    seen = page.glance(data.as_data(report, SCHEMA))
    # Of four lines, accuracy is no measure, and neither direction of the last is better.
    assert (seen["favoured"], seen["undecided"]) == ({"guided": 1, "plain": 0}, 1)
    assert (seen["dead"], seen["missing"], seen["unreadable"], seen["warnings"]) == (4, 0, 1, 1)


def test_where_comparisons_are_corrected_those_without_a_corrected_p_are_not_counted(report):
    corrected = report.differences.assign(p_corrected=[0.01, np.nan, 0.5, np.nan])
    seen = page.glance(data.as_data(replace(report, differences=corrected), SCHEMA))
    assert (seen["favoured"], seen["undecided"]) == ({"guided": 0, "plain": 0}, 1)


# Figures


def test_differences_of_a_measure_share_one_axis_with_zero_in_the_middle(report):
    content = data.as_data(report, SCHEMA)
    figures = [one["apart"] for part in page.sections(content, list(RUNS)) for one in part["quantities"]]
    assert {figure["zero"] for figure in figures} == {page.WIDTH / 2}
    assert [figure["high"] for figure in figures] == pytest.approx([0.1575, 0.1575, 0.0735, 1.0])
    (first,) = figures[0]["marks"]
    half = page.WIDTH / 2 - page.PAD
    assert first["x"] == pytest.approx(page.WIDTH / 2 + half * 0.1 / 0.1575, abs=0.06)
    assert (figures[-1]["marks"][0]["x"], figures[-1]["marks"][0]["from"]) == (None, None)


def test_other_methods_stand_beside_the_first(folder):
    (section,) = re.findall(r'<section id="methods">.*?</section>', (folder / "audit.html").read_text(), re.DOTALL)
    methods = re.findall(r"<td>(CAM|Grad-CAM)</td>", section)
    assert methods == ["Grad-CAM", "CAM"] * len(RUNS)
    assert "(a) spatial entropy" in section


def test_controls_are_on_the_axis_of_the_groups(report):
    content = data.as_data(report, SCHEMA)
    one = page.quantity(content, "(c) SSIM ↑", list(RUNS))
    assert (one["values"]["low"], one["values"]["high"]) == (0.0, 1.0)
    assert one["values"]["ends"] == [page.PAD, page.WIDTH - page.PAD]
    assert [(end["name"], end["controls"]) for end in one["ends"]] == [
        ("floor", ["random maps"]),
        ("ceiling", ["one arbitrary map"]),
    ]


def test_controls_that_depend_on_the_size_of_maps_are_named_with_their_group(report):
    content = data.as_data(report, SCHEMA)
    content["controls"][0]["mean"] = 0.2
    one = page.quantity(content, "(c) SSIM ↑", list(RUNS))
    assert [(control["control"], control["mean"]) for control in one["controls"]] == [
        *(("random maps, guided", 0.2), ("random maps, plain", 0.0), ("one arbitrary map", 1.0)),
    ]


def test_why_a_value_has_no_interval_stands_beside_it_once(report):
    content = data.as_data(report, SCHEMA)
    assert page.quantity(content, "(l) energy in the true region", list(RUNS))["notes"] == ["one run"]


def test_where_a_map_is_highest():
    maps = np.zeros((3, 7, 7))
    maps[0, 0, 6] = maps[1, 3, 3] = maps[2, 6, 3] = 1
    assert [pictures.highest(one) for one in maps] == ["upper right", "centre", "lower centre"]


def test_dead_maps_have_no_picture_and_fine_ones_are_reduced():
    assert pictures.salience(np.full((7, 7), np.nan)) is None
    fine, coarse = (len(pictures.salience(np.random.default_rng(0).random((side, side)))) for side in (224, 16))
    assert fine < 1.5 * coarse


# The page


def test_markup_in_names_stays_text(folder):
    text = (folder / "audit.html").read_text()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_pages_of_the_book_are_linked_only_if_its_address_is_known(report, folder, tmp_path):
    assert '<a href="#verdict"' in (folder / "audit.html").read_text()
    assert "http" not in (folder / "audit.html").read_text().replace("http-equiv", "")
    text = write(report, tmp_path, book="https://example.org/e2m/").read_text()
    pages = re.findall(r'href="https://example.org/e2m/([^"]+)\.html"', text)
    measures = ["executed/entropy", "executed/transformations", "executed/train_masker"]
    assert pages == [*measures, "executed/coverage", "executed/controls"]


def test_every_measure_has_a_page_in_the_book():
    known = re.findall(r"file: (\S+)", (CHECKOUT / "book" / "_toc.yml").read_text())
    letters = set("abcdehl")
    names = [limit["measure"] for limit in data.limits(letters)]
    assert len(names) == len(letters)
    pages = [*names, "coverage", "controls"]
    assert {f"executed/{page.PAGES.get(name, name)}" for name in pages} <= set(known)


def test_pictures_stop_where_the_page_is_large_enough(report, tmp_path, monkeypatch):
    asked = []

    def look(names):
        for shown in look_of(RUNS)(names):
            asked.append(shown.image)
            yield shown

    monkeypatch.setattr(page, "EMBEDDED_BYTES", 20_000)
    text = write(replace(report, look=look), tmp_path).read_text()
    shown = re.search(r"<p>(\d+) of 24 images are embedded", text)
    assert 1 <= int(shown[1]) == len(asked) - 1 < 12
    assert len(text) < 200_000


def test_the_table_stops_too_and_says_so(report, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LISTED", 10)
    text = write(report, tmp_path).read_text()
    assert "The table lists the 10 images that are most surprising" in text
    assert text.count('<tr data-label="') == 10


def test_one_group_gives_a_report_card(tmp_path):
    path = write(report_of({"only": 1}), tmp_path)
    text = path.read_text()
    assert "<title>Report card of only" in text
    assert "Cliff" not in text
    assert json.loads((tmp_path / "audit.json").read_text())["differences"] == []


def test_an_audit_of_little_has_a_page_too(report, tmp_path):
    little = {name: getattr(report, name)[:0] for name in ("equal", "controls", "left_out", "galleries", "findings")}
    accuracy = report.means[report.means["letter"] == ""]
    rows = replace(report, **little, means=accuracy, differences=report.differences[:1])
    text = write(replace(rows, verdict=Verdict(None, [])), tmp_path).read_text()
    assert "Nothing was left out." in text
    assert "No true regions and no human maps arrived" in text
    assert 'id="galleries"' not in text


def test_three_groups_are_compared_in_pairs(tmp_path):
    text = write(report_of({"A": 2, "B": 1, "C": 2}, preferred="A"), tmp_path).read_text()
    assert "<title>Prefer A" in text
    assert "A is higher than C: better for A" in text


# The page in Chromium


@pytest.fixture
def opened(browser, folder):
    """The page from its file, with everything it asked for, said or opened: ``page.events``."""
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    events = []
    shown.on("request", lambda request: events.append(request.url))
    shown.on("console", lambda message: events.append(message.text))
    shown.on("pageerror", lambda error: events.append(str(error)))
    shown.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
    shown.goto((folder / "audit.html").as_uri())
    shown.events = [event for event in events if not event.startswith("data:")]
    yield shown
    shown.close()


def names(shown) -> list[str]:
    return shown.locator("#table tbody tr:visible th").all_inner_texts()


def test_nothing_is_loaded_and_nothing_goes_wrong(opened, folder, expect):
    assert opened.events == [(folder / "audit.html").as_uri()]
    expect(opened.locator("h1")).to_have_text("No reason to prefer either")
    expect(opened.locator("img[src='x']")).to_have_count(0)
    expect(opened.locator("template")).to_have_count(IMAGES - opened.locator("[data-shown]").count())


def test_all_pictures_are_shown(opened):
    wrong = "images => images.filter(image => !(image.complete && image.naturalWidth)).length"
    assert opened.locator("img").count() > 20
    assert opened.locator("img").evaluate_all(wrong) == 0


def test_buttons_in_the_header_sort_both_ways_and_rows_without_a_value_stay_last(opened, expect):
    button = opened.get_by_role("button", name="plain: P(synthetic)")
    column = "rows => rows.map(row => row.cells[6].dataset.value)"
    for reverse in (False, True):
        button.click()
        values = opened.locator("#table tbody tr").evaluate_all(column)
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=reverse)
        assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
    expect(opened.locator("th[aria-sort=descending]")).to_have_count(1)
    opened.locator("#table").get_by_role("button", name="image", exact=True).press("Enter")
    assert names(opened) == sorted(names(opened))


def test_filters_hold_at_once_and_are_counted(opened, expect):
    assert len(names(opened)) == IMAGES
    opened.get_by_label("Label").select_option("synthetic")
    assert len(names(opened)) == IMAGES // 2
    opened.get_by_label("Search").fill("person 1")
    assert names(opened)
    expect(opened.get_by_role("status")).to_have_text(f"{len(names(opened))} of {IMAGES} images")
    opened.get_by_label("Source").select_option("camera")
    assert names(opened) == []
    opened.get_by_label("Source").select_option(MARKUP)
    opened.get_by_label("Show").select_option("wrong")
    assert 0 < len(names(opened)) <= IMAGES // 2


def test_an_image_opens_by_keyboard_with_the_maps_of_all_runs(opened, expect):
    first, second = (opened.locator("#table tbody tr").nth(n).locator("button.open") for n in (0, 1))
    expected = [first.inner_text(), second.inner_text()]
    first.focus()
    opened.keyboard.press("Enter")
    view = opened.locator("dialog[open]")
    expect(view.locator("h4")).to_have_text(expected[0])
    expect(view.locator(".tile")).to_have_count(sum(RUNS.values()))
    expect(view.locator(".tile img[alt^='Map of 1.pt: highest at the']")).to_have_count(len(RUNS))
    opened.keyboard.press("ArrowRight")
    expect(view.locator("h4")).to_have_text(expected[1])
    opened.keyboard.press("ArrowLeft")
    expect(view.locator("h4")).to_have_text(expected[0])
    opened.keyboard.press("Escape")
    expect(opened.locator("dialog[open]")).to_have_count(0)
    assert opened.evaluate("document.activeElement.textContent") == expected[0]


def test_every_embedded_image_opens(opened, expect):
    for number in range(IMAGES):
        opened.locator("#table button.open").nth(number).evaluate("button => button.click()")
        expect(opened.locator("dialog[open] .tile")).to_have_count(sum(RUNS.values()))


def test_maps_are_shown_over_the_image_or_alone(opened):
    tile = opened.locator(".gallery .tile img").first
    opacity = "image => Number(getComputedStyle(image).opacity)"
    assert tile.evaluate(opacity) < 1
    opened.locator("#galleries button.overlay").click()
    assert tile.evaluate(opacity) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_people_with_any_screen_can_read_it(opened, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    opened.set_viewport_size({"width": width, "height": 844})
    opened.emulate_media(color_scheme=scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    for box in opened.locator(".wide:visible").all():
        wider = box.locator(".scroll").evaluate("inner => inner.scrollWidth > inner.clientWidth + 1")
        assert box.locator(".hint").is_visible() == wider
    opened.locator("#table button.open").first.click()
    assert opened.evaluate("document.querySelector('dialog').scrollWidth") <= width
    violations = Axe().run(opened).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in violations if rule["impact"] != "minor"] == []

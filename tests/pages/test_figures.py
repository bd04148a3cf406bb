"""Figures and tables: their words and numbers, and that each draws its data."""

import re
from functools import partial
from io import BytesIO
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import PNGFormatter, SVGFormatter
from matplotlib.text import Text

from e2m import plugins, statistics
from e2m.pages import explained, figures, first_page, tables


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def table():
    """Two regimes on two sources; one mean has no interval, one no mean."""
    return pd.DataFrame(
        {
            "regime": ["cross_entropy", "cyborg"] * 2,
            "source": ["orl", "orl", "swap", "swap"],
            "mean": [0.5, 0.25, 0.75, np.nan],
            "low": [0.4, 0.2, np.nan, np.nan],
            "high": [0.6, 0.3, np.nan, np.nan],
            "missing": [1, 2, 0, 5],
        }
    )


def test_every_regime_has_its_colour_and_name():
    style = figures.regime_style([*plugins.names("regime"), "human"])
    for part in zip(*style.values(), strict=True):
        assert len(set(part)) == len(style)


def test_points_and_intervals_are_drawn_where_they_belong(table):
    ax = figures.intervals(table, x="source", ylabel="value").axes[0]
    drawn = {container.get_label(): container for container in ax.containers}
    assert list(drawn) == ["cross-entropy", "CYBORG"]
    np.testing.assert_allclose(np.asarray(drawn["cross-entropy"][0].get_ydata(), float), [0.5, 0.75])
    bars = drawn["cross-entropy"][2][0].get_segments()
    np.testing.assert_allclose([np.asarray(bar, float)[:, 1] for bar in bars], [[0.4, 0.6], [0.75, 0.75]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["orl", "swap"]


def test_floor_and_ceiling_are_lines_across_their_source(table):
    beside = pd.DataFrame({"regime": ["fixed", "annotator"], "source": "orl", "mean": [0.3, 0.9], "missing": 0})
    ax = figures.intervals(pd.concat([table, beside]), x="source", ylabel="value").axes[0]
    drawn = {collection.get_label(): collection.get_segments() for collection in ax.collections}
    lines = {label: segments for label, segments in drawn.items() if label[0] != "_"}
    assert list(lines) == ["mean human map, the same for all images", "another annotator (simulated)"]
    for height, (line, *_) in zip((0.3, 0.9), lines.values(), strict=True):
        np.testing.assert_allclose(line, [[-0.35, height], [0.35, height]])
    # Marks stand as if there were no lines.
    alone = figures.intervals(table, x="source", ylabel="value").axes[0]
    at = [[list(bars[0].get_xdata()) for bars in axes.containers] for axes in (ax, alone)]
    assert at[0] == at[1]


def test_lines_are_ordered_by_number_not_by_text(table):
    levels = table.assign(level=["0.5", "0.5", "0.25", "0.25"])
    ax = figures.intervals(levels, x="level", ylabel="value", numeric=True).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.25, 0.5])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.75, 0.5])


def test_one_panel_for_each_value_and_one_row_for_each_detector(table):
    both = pd.concat([table.assign(detector=name) for name in ("first", "second")])
    axes = figures.intervals(both, x="source", ylabel="value", column="source", titles={"orl": "ORL"}).axes
    assert [ax.get_title() for ax in axes] == ["first: ORL", "first: swap", "second: ORL", "second: swap"]


def test_marks_are_drawn_in_their_panels_and_their_names_do_not_collide(table):
    marks = pd.DataFrame(
        {"label": ["floor", "near", "ceiling"], "value": [0.1, 0.11, 1.2], "source": [None, "orl", None]}
    )
    axes = figures.intervals(table, x="source", column="source", ylabel="value", marks=marks).axes
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [
        ["floor", "near", "ceiling"],
        ["floor", "ceiling"],
    ]
    assert [line.get_ydata()[0] for line in axes[1].lines[-2:]] == [0.1, 1.2]
    heights = [text.get_position()[1] for text in axes[0].texts]
    assert min(np.diff(heights)) > 0.07
    bottom, top = axes[0].get_ylim()
    np.testing.assert_allclose(heights[0], (0.1 - bottom) / (top - bottom))


def test_names_of_marks_stay_inside_the_panel():
    np.testing.assert_allclose(figures._apart(np.array([0.5, 0.98, 0.99, 1.0]), 0.1), [0.5, 0.8, 0.9, 1.0])
    np.testing.assert_allclose(figures._apart(np.array([0.2, 0.2, 0.6]), 0.1), [0.2, 0.3, 0.6])


def test_a_dead_map_leaves_the_image_grey():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    dead = figures.overlay(image, np.full((4, 4), np.nan))
    assert (dead[..., 0] == dead[..., 1]).all()
    alive = figures.overlay(image, np.linspace(0, 1, 16).reshape(4, 4))
    assert (alive[..., 0] != alive[..., 1]).any()


def test_an_interval_in_words():
    difference = pd.Series({"difference": -0.1, "low": -0.2, "high": 0.05, "note": ""})
    assert tables.in_words(difference) == "-0.10 [-0.20, +0.05]"
    unknown = pd.Series({"difference": 0.1, "low": np.nan, "high": np.nan, "note": "1 run: no interval over runs"})
    assert tables.in_words(unknown) == "+0.10, without an interval: 1 run: no interval over runs"


def test_a_table_for_reading(table):
    shown = tables.interval_table(table, rows=["source"])
    assert [*shown.data] == ["source", "cross_entropy", "cyborg"]
    assert shown.data.loc[0, "cross_entropy"] == "0.50 [0.40, 0.60]"
    assert shown.data.loc[1, "cross_entropy"] == "0.750"
    assert shown.data.loc[1, "cyborg"] == "–"
    assert shown.notes[0] == "3 to 5 missing values a row."


def test_a_table_counts_what_entered_and_says_what_is_missing(table):
    counted = table.assign(
        images=[120, 118, 120, 120],
        flipped=[1, 2, 0, 4],
        runs=5,
        kind="pairs",
        note=["few runs (5)", "few runs (5)", "1 image: no interval over images", "no live value"],
    )
    shown = tables.interval_table(counted, rows=["source"])
    counts = "5 runs, 118 to 120 images, 3 to 5 missing values a row, 3 to 4 flipped predictions a row."
    assert shown.notes[:4] == [counts, "Few runs (5).", "1 image: no interval over images.", "No live value."]
    assert f'<p class="notes">{counts} Few runs (5).' in shown.to_html()
    none = counted.assign(runs=[5, 10, 10, 10], missing=0, flipped=0)
    assert tables.interval_table(none, rows=["source"]).notes[0] == (
        "5 to 10 runs, 118 to 120 images, no missing values, no flipped predictions."
    )


def test_an_interval_that_falls_short_is_marked_and_explained(table, monkeypatch):
    monkeypatch.setattr(tables.coverage, "held", lambda kind, runs: (0.9 if kind == "pairs" else 0.95, 0.99))
    kinds = table.assign(kind=["pairs", "mean", "mean", "mean"], runs=5)
    shown = tables.interval_table(kinds, rows=["source"])
    assert shown.data.loc[0, "cross_entropy"] == "0.50 [0.40, 0.60]†"
    assert shown.data.loc[0, "cyborg"] == "0.25 [0.20, 0.30]"
    assert "means over pairs of runs from 5 runs, in 90.0 %" in shown.notes[-1]
    assert "†" not in tables.interval_table(kinds.tail(3), rows=["source"]).to_html()
    assert tables.in_brackets(kinds.iloc[0]) == "0.50 [0.40, 0.60]†"


def test_differences_for_reading():
    rows = pd.DataFrame(
        [
            (regime, run, f"{image}", "m", run + 10 * (regime == "cyborg") + image % 2)
            for regime in ("cyborg", "cross_entropy")
            for run in range(3)
            for image in range(4)
        ],
        columns=["regime", "run", "image", "measure", "value"],
    )
    roles = {"first": "cyborg", "second": "cross_entropy"}
    differences = statistics.compare(rows, ["measure"], **roles)
    table = tables.difference_table(differences)
    shown = table.data
    assert [*shown] == ["measure", "difference", "P", "Cliff's delta", "p", "p_holm"]
    assert table.notes[:2] == ["3 runs, 4 images, no missing values.", "Smallest p that so many runs can give: 0.100."]
    both = pd.concat([differences, differences.assign(p_smallest=0.5)], ignore_index=True)
    assert "p_smallest" in tables.difference_table(both).data
    (row,) = differences.to_dict("records")
    assert shown["difference"][0].startswith("10.0")
    assert shown["P"][0].startswith(f"1.00 [{row['probability_low']:.2f}, 1.00]")
    assert shown["Cliff's delta"][0].startswith(f"1.00 [{row['cliffs_low']:.2f}, 1.00]")
    alone = tables.difference_table(statistics.compare(rows[rows["run"] == 0], ["measure"], **roles))
    assert alone.data["P"][0] == "1.00"
    assert "1 run: no interval over runs." in alone.notes


CLAIM = dict.fromkeys(("claim", "by", "row", "detector", "variant", "salience", "expected", "figures"), "x")
CLAIM |= dict.fromkeys(("why", "decides", "verdict", "status"), "") | {
    "runs": 5,
    "images": 60,
    "note": "few runs (5)",
    "kind": "",
}
CLAIM |= {"difference": 0.1, "low": 0.0, "high": 0.2, "level": 0.95}


def test_claims_for_reading_show_the_verdict_and_what_it_rests_on():
    shown = tables.claims_table(pd.DataFrame([CLAIM | {"verdict": "supported"}]))
    page = shown.to_html()
    assert re.findall(r"<th scope=.col.>([^<]*)", page) == ["claim", "verdict", "ours", "quantity"]
    assert "<b>expected</b> x; <b>published</b> x; <b>by</b> x</div></td>" in page  # and no word on what is empty
    assert shown.notes[:2] == ["5 runs, 60 images.", "Few runs (5)."]
    two = pd.DataFrame([CLAIM, CLAIM | {"detector": "other", "variant": "corrected"}])
    assert [*tables.claims_table(two).data][4:6] == ["variant", "detector"]


def test_verdicts_are_words_in_cells_of_different_lightness():
    columns = pd.MultiIndex.from_product([["published", "corrected"], ["GradCAM", "masker"]])
    said = [["supported", "contradicted", "inconclusive", "untestable"], ["supported", "", "supported", "supported"]]
    (ax,) = figures.verdicts(pd.DataFrame(said, index=["first", "second"], columns=columns)).axes
    words = ["✓ supported", "✗ contradicted", "? inconclusive", "– untestable"]
    assert [text.get_text() for text in ax.texts][:4] == words
    assert [label.get_text() for label in ax.get_xticklabels()][1] == "published\nmasker"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"]
    # Rectangles and words lie in the cell of their claim and column.
    assert [(cell.get_x(), cell.get_y()) for cell in ax.patches] == [(x, y) for y in range(2) for x in range(4)]
    assert [float(line.get_xdata()[0]) for line in ax.lines] == [2]  # between the variants
    assert len({colour for colour, *_ in list(figures.VERDICTS.values())[:4]}) == 4


def test_differences_have_a_line_at_zero(table):
    shown = table.assign(row=table["source"], detector="d")
    drawn = [figures.forest(shown, zero=zero).axes[0] for zero in (True, False)]
    at = [[list(line.get_xdata()) for line in ax.lines if line.get_color() == "0.3"] for ax in drawn]
    assert at == [[[0, 0]], []]


@pytest.fixture
def many():
    """One regime on nine sources with long names."""
    names = [f"a long name {number}" for number in range(9)]
    return pd.DataFrame({"regime": "cyborg", "source": names, "mean": 0.5, "low": 0.4, "high": 0.6})


def boxes(figure, labels):
    figure.draw_without_rendering()
    return [label.get_window_extent() for label in labels]


@pytest.mark.parametrize("draw", [figures.forest, partial(first_page.plot, guided="cyborg")])
def test_long_names_of_quantities_do_not_touch(draw, many):
    long = "a quantity whose name takes as many as three lines beside the figure, as published ↑"
    rows = many.assign(row=[f"{name}: {long}" for name in many["source"]], detector="d", against="fixed_map")
    figure = draw(rows.assign(verdict="better"))
    names = sorted(boxes(figure, figure.axes[0].get_yticklabels()), key=lambda box: box.y0)
    assert all(below.y1 < above.y0 for below, above in pairwise(names))


def test_names_below_an_axis_do_not_touch(many):
    figure = figures.intervals(many, x="source", ylabel="value")
    names = boxes(figure, figure.axes[0].get_xticklabels())
    assert all(left.x1 < right.x0 for left, right in pairwise(names))


def test_names_of_marks_take_no_room_from_a_panel_that_is_not_there(many):
    marks = pd.DataFrame({"label": ["a name of some length"], "value": [0.5]})
    figure = figures.intervals(many[:5], x="source", column="source", ylabel="value", marks=marks)
    figure.draw_without_rendering()
    places = [ax.get_position() for ax in figure.axes[:3]]
    first, second = (right.x0 - left.x1 for left, right in pairwise(places))
    assert first == pytest.approx(second, abs=0.02)


def test_differences_of_claims_become_text_and_marks_when_shown(monkeypatch):
    monkeypatch.setattr(tables.coverage, "held", lambda kind, runs: (0.9 if kind == "pairs" else 0.95, 0.99))
    cases = [  # difference, low, high, level, kind of the interval, and the text
        (0.2, 0.1, 0.3, 0.95, "pairs", "+0.20 [+0.10, +0.30]†"),
        (-0.2, -0.3, -0.1, 0.95, "difference", "-0.20 [-0.30, -0.10]"),
        (0.01, -0.02, 0.04, 0.9, None, "+0.010 [-0.020, +0.040] (90 %)"),
        (0.1, np.nan, np.nan, 0.95, "pairs", "+0.100, without an interval: 1 run"),
        (np.nan, np.nan, np.nan, np.nan, None, "–"),
    ]
    table = pd.DataFrame(cases, columns=["difference", "low", "high", "level", "kind", "expected text"])
    expected = table.pop("expected text").tolist()
    about = {name: value for name, value in CLAIM.items() if name not in table} | {"note": "1 run"}
    shown = tables.claims_table(table.assign(**about))
    assert shown.data["ours"].fillna("–").tolist() == expected
    assert "†" in shown.notes[-1]


def test_dots_stand_on_the_line_of_their_name(table):
    figure = figures.dots(table, "source", "regime", {"cyborg": "CYBORG ↑"}, reference="orl")
    (ax,) = figure.axes
    assert ax.get_xlabel() == "CYBORG ↑"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["orl", "swap"]
    (bars,) = ax.containers
    np.testing.assert_allclose(np.asarray(bars[0].get_xdata(), float), [0.25, np.nan])
    np.testing.assert_allclose(bars[0].get_ydata(), [0, 1])
    np.testing.assert_allclose(bars[2][0].get_segments()[0], [[0.2, 0], [0.3, 0]])
    (mark,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(np.asarray(mark.get_xdata(), float), [0.25, 0.25])


def test_dots_of_several_kinds_have_the_colours_of_their_regimes(table):
    ax = figures.dots(table.assign(kind="x"), "source", "kind", hue="regime").axes[0]
    style = figures.regime_style(["cross_entropy", "cyborg"])
    assert [bars.get_label() for bars in ax.containers] == [label for label, _, _ in style.values()]
    assert [bars[0].get_color() for bars in ax.containers] == [colour for _, colour, _ in style.values()]
    heights = [bars[0].get_ydata()[0] for bars in ax.containers]
    assert heights[0] < 0 < heights[1]


def test_dots_of_differences_have_a_line_at_zero_in_every_panel(table):
    names = {"cyborg": "CYBORG " * 6, "cross_entropy": "cross-entropy"}
    figure = figures.dots(table, "source", "regime", names, zero=True, across=3)
    assert all([0, 0] in [list(line.get_xdata()) for line in ax.lines] for ax in figure.axes)
    assert len({round(ax.get_position().y0, 6) for ax in figure.axes}) == 1
    assert [ax.get_xlabel().count("\n") for ax in figure.axes] == [1, 0]
    assert "\n" not in figure.get_label()


def test_run_matrix_is_symmetric():
    pairs = pd.DataFrame({"regime": "cyborg", "run": [0, 0, 1], "run_other": [1, 2, 2], "value": [0.1, 0.2, 0.3]})
    cells = figures.run_matrix(pairs, "SSIM").axes[0].collections[0].get_array().filled(np.nan)
    np.testing.assert_allclose(cells, [[np.nan, 0.1, 0.2], [0.1, np.nan, 0.3], [0.2, 0.3, np.nan]])


@pytest.fixture
def timed():
    rows = [
        ("a long name that does not fit into one line", "small", "speed-up", 4.0, 3.0, 5.0, 2.0),
        ("a long name that does not fit into one line", "large", "speed-up", 2.0, 1.5, 2.5, np.nan),
        ("short", "small", "cost", 1.1, 1.0, 1.2, 1.15),
    ]
    return pd.DataFrame(rows, columns=["alternative", "detector", "kind", "ratio", "ratio_low", "ratio_high", "target"])


def test_ratios_of_one_kind_with_their_range_and_target(timed):
    (ax,) = figures.ratios(timed, "speed-up", "times faster").axes
    drawn = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata().item() for line in drawn] == [4, 2]
    assert len({line.get_color() for line in drawn}) == 2
    assert [line.get_xdata()[0] for line in ax.lines if line.get_lw() == 2.5] == [2]
    ranges = [path.vertices[:, 0].tolist() for bars in ax.collections for path in bars.get_paths()]
    assert ranges == [[3, 5], [1.5, 2.5]]
    assert ax.get_yticklabels()[0].get_text().count("\n") == 1


def test_memory_and_time_by_number_of_images():
    rows = pd.DataFrame({"images": [100, 1000], "value": [500.0, 510.0], "ours_seconds": [1.0, 9.0]})
    axes = figures.memory(rows.astype({"images": "Int64"})).axes
    assert [ax.lines[0].get_ydata().tolist() for ax in axes] == [[500, 510], [1, 9]]
    assert [ax.get_ylabel() for ax in axes] == ["peak memory (MiB)", "time (s)"]
    assert axes[0].get_ylim()[0] == 0


def test_roc_curves_are_steps_with_bands_beside_chance():
    curve = {"fdr": [0.0, 0.5, 1.0], "mean": [0.2, 0.8, 1.0], "low": [0.1, 0.7, 1.0], "high": [0.3, 0.9, 1.0]}
    parts = [
        pd.DataFrame({**curve, "detector": "d", "regime": regime, "source": source})
        for source in ("swap", "morph", "dcgan")
        for regime in ("cross_entropy", "cyborg")
    ]
    figure = figures.roc(pd.concat(parts, ignore_index=True))
    assert [ax.get_title() for ax in figure.axes] == ["swap", "morph", "dcgan"]
    lines = {line.get_label(): line for line in figure.axes[2].lines}
    assert list(lines) == ["chance", "cross-entropy", "CYBORG"]
    assert lines["CYBORG"].get_drawstyle() == "steps-post"
    np.testing.assert_allclose(lines["CYBORG"].get_ydata(), curve["mean"])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.1)
    assert figure.get_supxlabel() == "FDR: share of authentic images flagged"


def test_tables_and_panels_speak_of_methods_and_regimes_in_words(table):
    named = table.assign(salience="GradCAMpp", level="shift_down")
    shown = tables.interval_table(named, rows=["salience", "source", "level"]).to_html()
    # What is the same in all rows is said once.
    assert "In all rows: salience method Grad-CAM++; level shift down." in shown
    assert re.findall(r"<th scope=.col.>([^<]*)", shown) == ["source", "cross-entropy", "CYBORG"]
    assert figures.intervals(named, x="source", ylabel="y", column="salience").axes[0].get_title() == "Grad-CAM++"
    assert tables._chance(0.0004) == "<\u00a00.001"
    assert tables._chance(0.0123) == "0.012"


def test_no_text_of_a_figure_is_smaller_than_a_page_can_show(table, timed):
    columns = pd.MultiIndex.from_product([["published", "corrected"], ["GradCAM", "masker"]])
    said = pd.DataFrame([["supported", "contradicted", "inconclusive", "untestable"]], index=["f"], columns=columns)
    marks = pd.DataFrame({"label": ["floor"], "value": [0.1]})
    faces = np.zeros((2, 16, 16, 3), np.uint8)
    drawn = [
        figures.intervals(table, x="source", ylabel="value", marks=marks),
        figures.forest(table.assign(row=table["source"], detector="d")),
        figures.dots(table, "source", "regime"),
        figures.verdicts(said),
        figures.ratios(timed, "speed-up", "times faster"),
        figures.salience_grid(faces, {"map": np.zeros((2, 4, 4))}, ["a", "b"]),
    ]
    for figure in drawn:
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(sizes) >= figures.SMALLEST


def test_a_grid_of_salience_says_its_scale_and_the_size_of_its_maps():
    faces, maps = np.zeros((2, 16, 16, 3), np.uint8), {"a": np.zeros((2, 7, 7)), "b": np.zeros((2, 4, 5))}
    *_, bar = figures.salience_grid(faces, maps | {"noisy": faces}, ["x", "y"]).axes
    assert bar.get_xlabel() == "salience, scaled for each map; maps of 7 × 7, 4 × 5 cells, enlarged"
    assert len(figures.salience_grid(faces, {"noisy": faces}, ["x", "y"]).axes) == 4  # without maps, no bar


def test_plots_are_drawings_and_faces_are_pictures(table):
    plot = figures.intervals(table, x="source", ylabel="value")
    grid = figures.contact_sheet({"s": np.zeros((2, 8, 8, 3), np.uint8)}, columns=2)
    assert [figures._kind(figure) for figure in (plot, grid)] == ["image/svg+xml", "image/png"]
    assert figures._drawn("image/png", plot) is None
    assert figures._drawn("image/svg+xml", plot).lstrip().startswith("<?xml")
    # Equal figures, drawn anew, give equal bytes.
    again = figures.intervals(table, x="source", ylabel="value")
    assert figures._drawn("image/svg+xml", plot) == figures._drawn("image/svg+xml", again)


def test_a_network_has_one_colour_and_no_regime_shares_it(monkeypatch):
    colours = {name: figures.network_colour(name) for name in plugins.names("detector")}
    assert len(set(colours.values())) == len(colours)
    assert not {colour for _, colour, _ in figures.regime_style(plugins.names("regime")).values()} & set(
        figures._NETWORKS
    )
    assert figures.network_colour("timm:convnext") == figures.network_colour("timm:convnext")


def test_the_finding_of_a_figure():
    table = pd.DataFrame({"regime": ["cross_entropy", "cyborg", "human"] * 2, "x": list("ab") * 3})
    table["mean"] = [0.1, 0.9, 0.5, 0.3, 0.7, np.nan]
    said = "cross-entropy 0.10 to 0.30; CYBORG 0.70 to 0.90; human (simulated) 0.50"
    assert figures.ranges(table) == said
    assert figures.ranges(table, "x", {"a": "AUC"}).startswith("AUC: cross-entropy 0.10; human (simulated) 0.50; ")
    drawn = figures.intervals(table.assign(low=table["mean"], high=table["mean"]), "x", "value")
    assert drawn.get_label() == f"{said}."


@pytest.mark.filterwarnings("error")
def test_notebooks_keep_what_a_figure_finds():
    figure, ax = plt.subplots()
    figure.set_label("a finding")
    kinds = {"image/svg+xml": SVGFormatter(), "image/png": PNGFormatter()}
    for kind, formatter in kinds.items():
        formatter.for_type(type(figure), partial(figures._described, kind))
    drawn, about = kinds["image/svg+xml"](figure)
    assert "<svg" in drawn
    assert about == {"finding": "a finding"}
    assert kinds["image/png"](figure) is None
    ax.imshow(np.zeros((2, 2)))
    assert kinds["image/svg+xml"](figure) is None
    assert kinds["image/png"](figure)[1] == about


def test_no_figure_is_wider_than_the_page():
    """Long names in legends, titles of panels, many pictures side by side: the page shows them whole."""
    long = "a name that is much longer than its panel is wide, and goes on"
    table = pd.DataFrame({"regime": [long, f"{long} still"] * 3, "mean": 0.5, "low": 0.4, "high": 0.6})
    table = table.assign(x="a", panel=[f"{long} {number // 2}" for number in range(6)])
    lines = pd.DataFrame({"label": ["one arbitrary map"], "value": [0.3]})
    tile = explained.Tile(np.zeros((8, 8, 3)), "a title of a picture", "a number of it")
    for figure in (
        figures.intervals(table, "x", "value", column="panel", marks=lines),
        figures.intervals(table, "x", "value", column="panel", marks=lines, share_y=False),
        explained.story({"a name": [tile] * 7}, (7, 7)),
    ):
        buffer = BytesIO()
        figure.savefig(buffer, format="svg")
        width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', buffer.getvalue().decode())[1])
        assert width / 72 <= figures.WIDEST + 0.25


def test_chances_settings_and_notes_in_a_table():
    data = pd.DataFrame({"name": ["a", "b"], "p": [0.0, 0.25], "note": ["few runs", ""]})
    html = tables.plain(data.assign(settings=[{"batch_size": 32, "flip": True}, {"flip": False}])).to_html()
    assert "<td>&lt;\u00a00.001</td>" in html
    assert "<td>0.250</td>" in html
    assert "<td>batch size 32, flip yes</td>" in html
    assert 'class="details"' in html
    assert "<b>note</b> few runs</div>" in html
    said = tables.Table(pd.DataFrame({"a": [1, 2], "why": ["It ends.", ""], "by": ["x", "y"]}), details=["why", "by"])
    assert "<b>why</b> It ends. <b>by</b> x</div>" in said.to_html()

"""Galleries, on rows so few that every value is worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from e2m.audit.galleries import galleries, of_images

LABELS = {"real": "authentic", "fake": "synthetic", "dull": "synthetic"}
SUBJECTS = {"real": "ann", "fake": "bob", "dull": "bob"}


def rows(values: dict[tuple[str, str], list[float]], **about) -> pd.DataFrame:
    """Tidy rows: (group, image) -> one value a run."""
    frame = pd.DataFrame(
        [(group, image, run, value) for (group, image), runs in values.items() for run, value in enumerate(runs)],
        columns=["regime", "image", "run", "value"],
    )
    frame["label"] = frame["image"].map(LABELS)
    return frame.assign(
        **{"detector": "net", "source": "s", "variant": "score", "level": "", "salience": "", "region": ""} | about
    )


SCORES = {
    ("A", "real"): [0.9, 0.7],
    ("A", "fake"): [0.8, 0.4],
    ("A", "dull"): [0.6, 0.6],
    ("B", "real"): [0.1, 0.3],
    ("B", "fake"): [0.2, np.nan],
    ("B", "dull"): [0.5, 0.5],
}


def decided(frame: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame:
    right = (clean["value"] > 0.5) == (clean["label"] == "synthetic")
    return frame.assign(correct=right.to_numpy())


@pytest.fixture
def images() -> pd.DataFrame:
    scores = rows(SCORES)
    maps = rows({key: [np.nan if key == ("A", "dull") else 0.5, 0.5] for key in SCORES}, variant="spatial")
    noisy = {key: [1 - value if key == ("A", "real") else value for value in runs] for key, runs in SCORES.items()}
    noise = pd.concat([decided(rows(SCORES, level="0.1"), scores), decided(rows(noisy, level="0.5"), scores)])
    turned = {"variant": "ssim_valid", "target": "predicted"}
    moved = pd.concat(
        [
            rows({key: [0.5, 0.7] for key in SCORES}, level="rotate_left", **turned),
            rows({key: [0.1, 0.3] for key in SCORES}, level="rotate_right", **turned),
            rows({key: [0.0, 0.0] for key in SCORES}, level="flip_left_right", **turned),
            rows({key: [0.0, 0.0] for key in SCORES}, level="rotate_left", variant="ssim_valid", target="clean"),
        ]
    )
    alike = rows({(group, image): [0.2 if image == "dull" else 0.9] for group, image in SCORES}, variant="ssim")
    measured = {"noise": noise, "transformations": moved, "stability": alike}
    return of_images(scores, SUBJECTS, maps, measured, noise=0.5)


def row(images: pd.DataFrame, group: str, image: str) -> pd.Series:
    return images[(images["group"] == group) & (images["image"] == image)].iloc[0]


def test_every_image_has_its_values_in_every_group(images):
    assert len(images) == 6
    first = row(images, "A", "real")
    assert first[["label", "source", "subject", "runs", "wrong", "dead", "note"]].tolist() == [
        *("authentic", "s", "ann", 2, 2, 0, ""),
    ]
    np.testing.assert_allclose(first[["score", "least", "most"]].astype(float), [0.8, 0.7, 0.9])
    assert row(images, "A", "dull")["dead"] == 1


def test_a_missing_score_is_neither_right_nor_wrong(images):
    assert row(images, "B", "fake")[["score", "runs", "wrong"]].tolist() == [0.2, 1, 1]


def test_an_image_without_scores_says_why():
    scores = rows({("A", "real"): [np.nan], ("A", "fake"): [0.9]})
    images = of_images(scores, SUBJECTS, scores.assign(variant="spatial"), {})
    assert "could not be read" in row(images, "A", "real")["note"]
    assert [kind.title for kind in galleries(images)] == []


def test_flips_are_those_at_one_level_of_noise(images):
    assert row(images, "A", "real")["flipped"] == 1
    assert row(images, "A", "fake")["flipped"] == 0


def test_rotation_reads_both_rotations_of_the_predicted_class_alone(images):
    np.testing.assert_allclose(images["rotated"], 0.4)


def test_each_gallery_shows_the_most_striking_first(images):
    shown = {gallery.title: gallery for gallery in galleries(images)}
    assert list(shown) == [
        *("Most surprising", "Where groups disagree", "Flips under noise", "Worst under rotation", "Runs disagree"),
    ]
    # Wrong with .8 by A, and with 1 - .2 by B; of equal ones, the first by name. "dull" is right in A, .5 in B.
    assert list(shown["Most surprising"].images) == ["fake", "real"]
    # .8 - .2, .6 - .2 and .6 - .5 apart.
    assert list(shown["Where groups disagree"].images) == ["real", "fake", "dull"]
    assert list(shown["Flips under noise"].images) == ["real"]
    assert list(shown["Runs disagree"].images) == ["dull", "fake", "real"]


def test_notes_say_what_is_striking(images):
    shown = {gallery.title: gallery for gallery in galleries(images)}
    assert shown["Most surprising"].notes == [
        *("taken for authentic with 0.80 by B", "taken for synthetic with 0.80 by A"),
    ]
    assert shown["Where groups disagree"].notes[0] == "mean scores 0.60 apart"
    assert shown["Flips under noise"].notes == ["A: 2 of 2 runs flip; B: 0 of 2 runs flip"]


def test_galleries_are_bounded(images):
    assert all(len(gallery.images) == 1 for gallery in galleries(images, count=1))


def test_one_group_has_no_gallery_between_groups(images):
    titles = [gallery.title for gallery in galleries(images[images["group"] == "A"])]
    assert "Where groups disagree" not in titles
    assert "Most surprising" in titles


def test_measures_that_are_absent_have_no_gallery(images):
    few = images.drop(columns=["flipped", "rotated", "alike"])
    assert [gallery.title for gallery in galleries(few)] == ["Most surprising", "Where groups disagree"]

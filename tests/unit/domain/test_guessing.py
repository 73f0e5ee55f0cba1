"""What a model's name says of it, where the catalogue says nothing."""

from __future__ import annotations

import pytest

from router.domain.catalogue import Catalogue
from router.domain.guessing import bytes_per_weight, guessed, parameters
from simulation.fit.figures import catalogue


@pytest.fixture(scope="module")
def known() -> Catalogue:
    """The shipped accelerators and models."""
    return catalogue()


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("Foo-70B-A12B-FP8", 70e9, 12e9),
        ("bar-7b-instruct", 7e9, 7e9),
        ("baz-0.5b", 0.5e9, 0.5e9),
        ("small-350M", 350e6, 350e6),
        ("huge-1T-A32B", 1e12, 32e9),
        ("mix-8x7B", 47e9, 12.6e9),
    ],
)
def test_a_name_says_sizes(name: str, total: float, active: float) -> None:
    """Weights in all and those that work on a token, in millions, billions and trillions."""
    assert parameters(name) == pytest.approx((total, active), rel=0.01)


def test_a_name_without_a_size_says_nothing() -> None:
    """No guess is better than a wild one; versions and contexts are no sizes."""
    assert parameters("gpt-5") is None
    assert parameters("claude-3.5-sonnet") is None
    assert guessed("gemini-2.5-pro-128k") is None


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("x-FP8", 1.0),
        ("x-NVFP4", 0.53),
        ("x-awq", 0.56),
        ("x-Q4_K_M", 0.56),
        ("x-bf16", 2.0),
        ("w8a8", 1.0),
        ("x", None),
    ],
)
def test_a_name_says_how_weights_are_stored(name: str, size: float | None) -> None:
    """Bytes of a weight by the formats in use."""
    assert bytes_per_weight(name) == size


def test_a_guess_is_marked() -> None:
    """Nobody takes it for a figure of the catalogue."""
    model = guessed("Foo-70B-A12B-FP8")

    assert model is not None
    assert model.guessed
    assert model.experts > 1


def test_guesses_are_near_the_models_of_the_catalogue(known: Catalogue) -> None:
    """Layers of dense models within two fifths for nine of ten of those that say their size."""
    ratios = []
    for model in known.models.values():
        guess = guessed(model.id)
        if guess is not None and model.layers and not model.experts and model.parameters > 1e9:
            ratios.append(guess.layers / model.layers)
    near = [ratio for ratio in ratios if 0.6 < ratio < 1.67]

    assert len(ratios) > 30
    assert len(near) >= 0.9 * len(ratios)

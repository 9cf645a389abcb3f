"""Label codes: orthogonality, how many a space holds, and the traps of sampled sines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.transport.codes import CODES, label_codes

CAPACITY = {
    "sinusoidal": lambda width: (width - 1) // 2,
    "paired": lambda width: width - 1,
    "one_hot": lambda width: width,
    "random": lambda width: width,
}
"""Most classes of a code space of so many dimensions."""


@pytest.mark.parametrize("kind", CODES)
@given(width=st.integers(3, 70), data=st.data())
def test_codes_are_orthogonal_with_squared_norm_half_the_width(kind, width, data):
    n_classes = data.draw(st.integers(1, CAPACITY[kind](width)))
    codes = label_codes(kind, n_classes, width)
    assert codes.shape == (n_classes, width)
    assert codes.dtype == np.float64
    np.testing.assert_allclose(codes @ codes.T, width / 2 * np.eye(n_classes), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("width", [8, 9, 33])
def test_a_code_does_not_depend_on_the_number_of_classes(kind, width):
    capacity = CAPACITY[kind](width)
    full = label_codes(kind, capacity, width)
    for n_classes in range(1, capacity):
        np.testing.assert_array_equal(label_codes(kind, n_classes, width), full[:n_classes])


@pytest.mark.parametrize("kind", CODES)
@given(n_classes=st.integers(1, 2000))
def test_width_for_is_the_least_width_that_holds_the_classes(kind, n_classes):
    width = CODES[kind]().width_for(n_classes)
    assert CAPACITY[kind](width) >= n_classes
    assert CAPACITY[kind](width - 1) < n_classes


@pytest.mark.parametrize(
    ("kind", "width", "capacity", "needed"),
    [
        ("sinusoidal", 16, 7, 17),
        ("sinusoidal", 17, 8, 19),
        ("paired", 16, 15, 17),
        ("one_hot", 16, 16, 17),
        ("random", 16, 16, 17),
    ],
)
def test_more_classes_than_the_space_holds(kind, width, capacity, needed):
    label_codes(kind, capacity, width)
    message = (
        rf"Got {capacity + 1} classes for '{kind}' codes of width={width}, expected a width of at least {needed}; fit with "
        rf"width={needed} or more\."
    )
    with pytest.raises(ValueError, match=message):
        label_codes(kind, capacity + 1, width)


def test_sinusoidal_codes_are_equation_2():
    codes = label_codes("sinusoidal", 4, 11)
    for index, code in enumerate(codes):
        np.testing.assert_allclose(code, np.sin(2 * np.pi * np.arange(11) * (index + 1) / 11), atol=1e-13)


def test_codes_past_the_capacity_would_alias():
    """Why the capacity is what it is: code f and width - f are negatives, that of width / 2 is zero."""
    width = 16
    family = CODES["sinusoidal"]()
    beyond = family.matrix(width, width)  # unchecked: frequencies 1 … width
    for frequency in range(1, width // 2):
        np.testing.assert_allclose(beyond[frequency - 1], -beyond[width - frequency - 1], atol=1e-12)
    assert np.linalg.norm(beyond[width // 2 - 1]) < 1e-10
    assert np.linalg.norm(beyond[width - 1]) < 1e-10
    assert CAPACITY["sinusoidal"](width) == width // 2 - 1


def test_high_frequencies_keep_their_digits():
    """sin(2π l 511/1024) is (-1)^(l+1) sin(2π l/1024): arguments are small on the right, huge on the left."""
    place = np.arange(1024)
    expected = np.where(place % 2 == 0, -1, 1) * np.sin(2 * np.pi * place / 1024)
    np.testing.assert_allclose(label_codes("sinusoidal", 511, 1024)[510], expected, rtol=0, atol=2e-15)


def test_random_codes_are_the_same_every_time():
    np.testing.assert_array_equal(label_codes("random", 3, 20), label_codes("random", 3, 20))

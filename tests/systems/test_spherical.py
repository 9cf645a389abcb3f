import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gendiffclf.systems.spherical import OCTANTS, PARTITIONS, centred, regions, to_spherical

points = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-1, 1, allow_subnormal=False))


def from_spherical(radius, azimuth, polar):
    """The inverse of `to_spherical`."""
    horizontal = radius * np.sin(polar)
    return np.stack([horizontal * np.cos(azimuth), radius * np.cos(polar), horizontal * np.sin(azimuth)], axis=-1)


def test_ends_and_middle_of_a_scale():
    np.testing.assert_array_equal(centred([1, 4, 7, 2.5], 1, 7), [-1, 0, 1, -0.5])


@pytest.mark.parametrize(
    ("avd", "expected"),
    [
        ((1, 0, 0), (1, 0, math.pi / 2)),
        ((0, 1, 0), (1, 0, 0)),
        ((0, -1, 0), (1, 0, math.pi)),
        ((0, 0, 1), (1, math.pi / 2, math.pi / 2)),
        ((-1, 0, 0), (1, math.pi, math.pi / 2)),
        ((-1, 0, -0.0), (1, math.pi, math.pi / 2)),
        ((1, 1, 1), (math.sqrt(3), math.pi / 4, math.acos(1 / math.sqrt(3)))),
        ((0, 0, 0), (0, 0, 0)),
        ((-0.0, -0.0, -0.0), (0, 0, 0)),
    ],
)
def test_coordinates_of_known_points(avd, expected):
    np.testing.assert_allclose(to_spherical(avd), expected, atol=1e-15)


@given(points)
def test_coordinates_follow_their_definition_and_come_back(avd):
    radius, azimuth, polar = to_spherical(avd)
    a, v, d = avd.T
    np.testing.assert_allclose(radius, np.sqrt(a**2 + d**2 + v**2))
    away = radius > 1e-100
    np.testing.assert_allclose(np.cos(polar[away]), (v / np.where(away, radius, 1))[away], atol=1e-12)
    assert (azimuth > -math.pi - 1e-15).all()
    assert (azimuth <= math.pi).all()
    np.testing.assert_allclose(from_spherical(radius, azimuth, polar), avd, atol=1e-12)


def test_octants_are_those_of_the_table():
    signs = {"I": "+++", "II": "-++", "III": "--+", "IV": "+-+", "V": "++-", "VI": "-+-", "VII": "---", "VIII": "+--"}
    for number, of_table in enumerate(signs.values()):
        assert OCTANTS[number] == of_table
        assert regions([0.5 if sign == "+" else -0.5 for sign in of_table]) == number
    assert regions([0.0, 0.0, 0.0]) == regions([-0.0, 0.0, 0.3]) == 0  # 0 counts as +


@pytest.mark.parametrize(("n_regions", "degrees"), [(19, 60), (33, 45), (73, 30)])
def test_sectors_have_their_number_and_angle(n_regions, degrees):
    n_azimuth, n_polar = PARTITIONS[n_regions]
    assert (n_azimuth * degrees, n_polar * degrees, n_azimuth * n_polar + 1) == (360, 180, n_regions)
    azimuth, polar = np.meshgrid(
        np.radians(-180 + degrees * (np.arange(n_azimuth) + 0.5)),
        np.radians(degrees * (np.arange(n_polar) + 0.5)),
        indexing="ij",
    )
    numbers = regions(from_spherical(0.7, azimuth, polar), n_regions)
    np.testing.assert_array_equal(numbers.ravel(), np.arange(n_regions - 1))
    assert regions([0.0, 0.0, 0.0], n_regions) == n_regions - 1


@given(points, st.sampled_from(list(PARTITIONS)))
def test_every_point_is_in_one_region_whatever_its_radius(avd, n_regions):
    numbers = regions(avd, n_regions)
    assert ((numbers >= 0) & (numbers < n_regions)).all()
    np.testing.assert_array_equal(regions(avd / 2, n_regions), numbers)


def test_the_seam_of_azimuth_is_one_border():
    above, below = from_spherical(1, math.pi, 1.0), from_spherical(1, -math.pi, 1.0)
    assert regions(above, 33) == regions(below, 33) == 1


def test_unknown_partitions_are_refused():
    with pytest.raises(ValueError, match=r"Got n_regions=9, expected one of 8, 19, 33, 73\."):
        regions([0, 0, 0], 9)

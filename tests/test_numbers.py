"""How numbers are written, at the ends of every case."""

from functools import partial

import pytest

from csrec_core.numbers import (
    count,
    counted,
    decimals,
    interval,
    interval_text,
    p_value,
    plain,
    points,
    share,
    writer,
)

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (points, 0.0766, "7.7"), (points, -0.0766, "−7.7"), (points, -0.00049, "0.0"), (points, 0.0, "0.0"),
        (points, -0.00051, "−0.1"), (points, NAN, "–"), (points, INFINITE, "–"), (points, 1.0, "100.0"),
        (share, 0.182, "18.2%"), (share, -0.001, "−0.1%"), (share, NAN, "–"),
        (decimals, 1234.5678, "1,234.568"), (decimals, 0.0, "0.000"), (decimals, 0.0005001, "0.001"),
        (decimals, 0.0004, "0.0004"), (decimals, -0.00042, "−0.00042"), (decimals, 6e-6, "0.00001"),
        (decimals, 4e-6, "<0.00001"), (decimals, -4e-6, "0.000"), (decimals, INFINITE, "–"),
        (partial(decimals, digits=1), -4e-4, "0.0"), (partial(decimals, digits=1), 0.04, "0.04"),
        (plain, 0.01234, "0.0123"), (plain, 0.0, "0.00"), (plain, 1234.5, "1,234"), (plain, 123.4, "123"),
        (plain, 12.34, "12.3"), (plain, 1.234, "1.23"), (plain, -0.5, "−0.500"), (plain, 9.996, "10.0"),
        (plain, 99.96, "100"), (plain, 999.6, "1,000"), (plain, 0.09996, "0.100"), (plain, 1.234e-5, "0.000012"),
        (plain, 1.9e-4, "0.000190"),
        (plain, NAN, "–"), (plain, 123456.7, "123,457"),
        (count, 11894.6, "11,895"), (count, -2, "−2"), (count, INFINITE, "–"), (count, 999.4, "999"),
        (p_value, 0.00099, "p < .001"), (p_value, 0.001, "p = .001"), (p_value, 0.0099, "p = .010"),
        (p_value, 0.01, "p = .01"), (p_value, 0.999, "p = 1.00"), (p_value, 0.2, "p = .20"), (p_value, NAN, "–"),
    ],
)  # fmt: skip
def test_a_number_in_each_of_its_forms(write, value, text):
    assert write(value) == text


def test_signs_nouns_and_units():
    assert [points(one, sign=True) for one in (0.137, -0.137, 0.0001, NAN)] == ["+13.7", "−13.7", "0.0", "–"]
    assert [plain(one, sign=True) for one in (2.0, -2.0, 0.0)] == ["+2.00", "−2.00", "0.00"]
    assert [counted(one, "user") for one in (0, 0.6, 1, 1.6)] == ["0 users", "1 user", "1 user", "2 users"]
    for binary, text in ((True, "+7.7 points"), (False, "+0.0766")):
        write, unit = writer(binary, sign=True)
        assert write(0.0766) + unit == text
    assert writer(True)[0](0.01) == "1.0"
    assert decimals(0.5, 1) == "0.5"


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (0.07, 0.083, "[7.0, 8.3]"), (-0.0001, 0.0002, "about 0.0"), (NAN, NAN, "[–, –]"), (0.1, NAN, "[10.0, –]"),
    ],
)  # fmt: skip
def test_an_interval(lower, upper, text):
    assert interval(lower, upper) == text


@pytest.mark.parametrize(
    ("mean", "lower", "upper", "text"),
    [
        (-0.1234, -0.2, 0.05, "−0.123 [−0.200, 0.050]"), (NAN, NAN, NAN, "–"),
        (0.155, 0.148, 0.162, "0.155 [0.148, 0.162]"), (0.5, 0.5, 0.5, "0.500"), (0.5, NAN, 0.6, "0.500"),
        (0.5, 0.4, INFINITE, "0.500"), (NAN, 0.1, 0.2, "–"), (0.00042, 0.0004, 0.00044, "0.00042 [0.00040, 0.00044]"),
        (0.12346, 0.12341, 0.12349, "0.1235 [0.1234, 0.1235]"), (0.1, 0.1 - 1e-9, 0.1 + 1e-9, "about 0.100000"),
        (0.1000015, 0.100001, 0.100002, "0.100001 [0.100001, 0.100002]"),
        (-4e-7, -0.004, 0.003, "0.000 [−0.004, 0.003]"), (4e-7, -0.004, 0.003, "0.000 [−0.004, 0.003]"),
        (0.003, 4e-7, 0.006, "0.003 [0.000, 0.006]"), (-1e-17, -1e-17, 1e-17, "0.000"),
        (-2.4e-7, -7.3e-7, 0.0, "0.000"), (2e-5, 1e-5, 3e-5, "0.00002 [0.00001, 0.00003]"),
        (0.003, -0.0004, 0.006, "0.003 [−0.0004, 0.006]"),
    ],
)  # fmt: skip
def test_an_estimate_with_its_interval(mean, lower, upper, text):
    assert interval_text(mean, lower, upper) == text


def test_fewer_decimals_may_be_asked_for():
    assert interval_text(0.5, 0.41, 0.62, digits=1) == "0.5 [0.4, 0.6]"
    assert interval_text(0.5, 0.5, 0.5, digits=1) == "0.5"

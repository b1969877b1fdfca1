"""Which orbits a product was made with, and what that makes of its acquisitions."""

from datetime import UTC, date, datetime, timedelta

import pytest

from sagwatch.domain.orbits import Orbits, UsedOrbits, epoch_orbits, orbits_of
from sagwatch.domain.product import ProductName

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 1, 13), date(2024, 1, 25)


def after(day: date, days: float) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=days)


@pytest.mark.parametrize(("letter", "orbits"), [("P", "precise"), ("R", "restituted"), ("O", "restituted")])
def test_the_name_of_a_gamma_product_tells_it(letter, orbits):
    name = f"S1AA_20240101T103702_20240113T103702_VV{letter}012_INT40_G_weF_AB12"

    assert orbits_of(ProductName.parse(name).orbits, SECOND, after(SECOND, 400)) == orbits


def test_the_age_of_any_other_product_tells_it():
    assert ProductName.parse("S1_021697_IW3_20240101_20240113_VV_INT80_AB12").orbits is None
    assert orbits_of(None, SECOND, after(SECOND, 20.9)) is Orbits.RESTITUTED
    assert orbits_of(None, SECOND, after(SECOND, 21)) is Orbits.PRECISE
    assert orbits_of(None, SECOND, None) is Orbits.UNKNOWN


def test_an_acquisition_has_the_poorest_orbit_that_any_interferogram_took_for_it():
    used = [
        UsedOrbits(FIRST, SECOND, Orbits.PRECISE, after(SECOND, 30)),
        UsedOrbits(SECOND, THIRD, Orbits.RESTITUTED, after(THIRD, 2)),  # 14 days after the second
        UsedOrbits(FIRST, THIRD, Orbits.RESTITUTED, after(THIRD, 2)),  # 26 days after the first
    ]

    assert epoch_orbits(used) == {
        FIRST: Orbits.PRECISE,
        SECOND: Orbits.RESTITUTED,
        THIRD: Orbits.RESTITUTED,
    }
    assert epoch_orbits([UsedOrbits(FIRST, SECOND, Orbits.UNKNOWN, None)]) == {
        FIRST: Orbits.UNKNOWN,
        SECOND: Orbits.UNKNOWN,
    }

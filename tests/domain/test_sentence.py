"""Words about a zone, which must not contradict the level."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from sagwatch.domain.sentence import ZoneFacts, event_sentence, zone_sentence

FACTS = ZoneFacts(
    zone_name="zone 3fa2c1",
    latitude=37.41,
    longitude=110.84,
    area_m2=420_000,
    pixel_m=80,
    window_words="the last 150 days",
    median_mm_yr=-71,
    interval_mm_yr=(-88, -54),
    core_mm_yr=-134,
    core_half_interval_mm_yr=28,
    wide=False,
    threshold_mm_yr=-100,
    evidence_class="beyond threshold",
    n_epochs=13,
    beyond_since=date(2024, 5, 3),
    epoch=date(2024, 7, 9),
    displacement_mm=-61,
    no_data_fraction=0.04,
    incidence_deg=42,
)


def test_the_level_is_followed_by_the_speed_that_it_was_judged_on():
    told = event_sentence("raised", 2, -100, FACTS)

    assert told.startswith(
        "Level 2, faster than 100 mm/yr. Zone 3fa2c1 (0.42 km² at 37.41000° N, 110.84000° E) moves away from the "
        "satellite; its core at 134 ± 28 mm/yr against its surroundings over the last 150 days (13 acquisitions). "
        "The median of its pixels is -71 mm/yr (95 % interval -88 to -54). How sure: its core is faster than 100 mm/yr "
        "with 95 % certainty. Fast since 2024-05-03, latest acquisition 2024-07-09; -61 mm since the record began. "
        "Blind spots: 4% of it has no usable data, and more than 14 mm between neighbouring pixels (80 m)"
    )


def test_a_milder_level_claims_no_speed_that_the_next_sentence_takes_back():
    told = event_sentence("better", 2, -100, replace(FACTS, core_mm_yr=None, evidence_class="cannot tell"))

    assert told.startswith("Slower, now level 2: not yet surely slower than 100 mm/yr. Zone 3fa2c1 ")
    assert "shows no sure motion against its surroundings" in told


def test_a_median_faster_than_the_core_is_explained():
    told = zone_sentence(replace(FACTS, median_mm_yr=-181, core_mm_yr=-52))

    assert "core at 52 ± 28 mm/yr against its surroundings" in told
    assert (
        "Its surroundings move as well: not against them but by itself, the median of its pixels is -181"
        in told
    )


def test_what_moves_with_its_surroundings_and_what_no_longer_moves_have_words_of_their_own():
    wide = zone_sentence(replace(FACTS, wide=True, core_mm_yr=-62, core_half_interval_mm_yr=None))
    still = event_sentence(
        "cleared", 1, -40, replace(FACTS, core_mm_yr=None, evidence_class="cannot tell", beyond_since=None)
    )

    assert "together with wide surroundings; its core at more than 62 mm/yr, which is nearly certain," in wide
    assert still.startswith("Over; it was level 1. Zone 3fa2c1 (0.42 km²")
    assert "shows no sure motion against its surroundings" in still
    assert "what is left of its motion, if any, cannot be told from noise" in still


def test_a_lower_bound_is_called_one():
    assert "what is shown of it is a lower bound" in zone_sentence(replace(FACTS, lower_bound=True))
    assert "a fast centre can be faster than it is shown" in zone_sentence(FACTS)

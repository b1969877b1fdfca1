"""What is provisional, in words."""

from datetime import date, timedelta

import pytest

from sagwatch.domain.provisional import EpochInputs, provisional_sentence

DAYS = [date(2025, 1, 1) + timedelta(days=12 * i) for i in range(6)]


def sentence(troposphere: str, orbits: str = "pppppp") -> str | None:
    words = {"o": "off", "e": "estimated", "n": "none", "p": "preliminary", "f": "final"}
    of_orbits = {"p": "precise", "r": "restituted", "u": "unknown"}
    told = provisional_sentence(
        [
            EpochInputs(*one)
            for one in zip(DAYS, map(words.get, troposphere), map(of_orbits.get, orbits), strict=True)
        ]
    )
    return told and told.removesuffix(" These results may still change when better data come.")


@pytest.mark.parametrize(
    ("troposphere", "orbits", "told"),
    [
        ("ffffff", "pppppp", None),
        ("oooooo", "uuuuuu", None),
        ("eeeeee", "pppppp", None),
        ("fffppp", "pppppp", "Provisional: the last 3 acquisitions have preliminary weather data."),
        ("fffffn", "pppppp", "Provisional: the last acquisition has no weather data yet."),
        ("nnnnnn", "pppppp", "Provisional: all 6 acquisitions have no weather data yet."),
        ("fnffff", "pppppp", "Provisional: the acquisition of 2025-01-13 has no weather data yet."),
        (
            "ffpppn",
            "pppprr",
            "Provisional: the last acquisition has no weather data yet; 3 acquisitions (2025-01-25 to 2025-02-18) have "
            "preliminary weather data; the last 2 acquisitions have restituted orbits.",
        ),
    ],
)
def test_the_sentence_names_each_reason_and_whom_it_concerns(troposphere, orbits, told):
    assert sentence(troposphere, orbits) == told

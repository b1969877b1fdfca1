"""Which acquisitions stand on input that will be replaced, in data and in words.

Anything that a reader sees may still change where its weather data are missing or preliminary, or where its orbits are
the quick ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

#: What makes an acquisition provisional, worst first, and how it is said. `sql/views/epochs.sql` says the same.
TROPOSPHERE_WORDS = {"none": "no weather data yet", "preliminary": "preliminary weather data"}
ORBIT_WORDS = {"restituted": "restituted orbits"}


@dataclass(frozen=True, slots=True)
class EpochInputs:
    """How good the input of one acquisition is.

    ``troposphere``: none, preliminary or final; off where the site wants no correction, estimated where it is taken
    from the displacements themselves. ``orbits``: precise, restituted, unknown.
    """

    day: date
    troposphere: str = "off"
    orbits: str = "unknown"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is provisional; empty where it is not."""
        found = (TROPOSPHERE_WORDS.get(self.troposphere), ORBIT_WORDS.get(self.orbits))
        return tuple(reason for reason in found if reason is not None)


def provisional_sentence(epochs: Sequence[EpochInputs]) -> str | None:
    """One plain sentence about what is provisional, for messages; None where nothing is.

    For example: "Provisional: the last 3 acquisitions have preliminary weather data; these results may still change
    when better data come."

    Parameters
    ----------
    epochs
        Of a revision, in order of date.
    """
    parts = []
    for reason in (*TROPOSPHERE_WORDS.values(), *ORBIT_WORDS.values()):
        places = [place for place, epoch in enumerate(epochs) if reason in epoch.reasons]
        if places:
            parts.append(f"{_which(places, epochs)} {reason}")
    if not parts:
        return None
    return f"Provisional: {'; '.join(parts)}. These results may still change when better data come."


def _which(places: Sequence[int], epochs: Sequence[EpochInputs]) -> str:
    first, last = epochs[places[0]].day, epochs[places[-1]].day
    count = len(places)
    if count == len(epochs):
        return f"all {count} acquisitions have" if count > 1 else "the only acquisition has"
    if places[0] == len(epochs) - count:
        return f"the last {count} acquisitions have" if count > 1 else "the last acquisition has"
    return (
        f"{count} acquisitions ({first} to {last}) have" if count > 1 else f"the acquisition of {first} has"
    )

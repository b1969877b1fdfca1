"""In which state an acquisition is, by what became of its pairs: nothing stays unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sagwatch.domain.acquisition import Acquisition, AcquisitionState
from sagwatch.domain.stack_rules import NetworkRules

#: Late granules come within weeks (the catalogue has shown 30 days).
CATALOGUE_PATIENCE = timedelta(days=45)
#: HyP3 keeps a product for 14 days, and a job may wait for days before it starts.
JOB_PATIENCE = timedelta(days=21)
#: A pair that could not be paid this month can be paid next month.
ORDER_PATIENCE = timedelta(days=45)

_LIVE = frozenset({"intended", "open", "succeeded"})


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What became of one pair so far; ``interferograms`` are (state, reason)."""

    reference: date
    secondary: date
    wanted: bool
    planned_at: datetime
    given_up_reason: str | None
    job_state: str | None
    job_intended_at: datetime | None
    interferograms: tuple[tuple[str, str | None], ...]

    @property
    def used(self) -> bool:
        return any(state == "accepted" for state, _ in self.interferograms)

    @property
    def excluded(self) -> bool:
        return any(state == "excluded" for state, _ in self.interferograms)

    @property
    def hopeful(self) -> bool:
        """Whether an interferogram may still come of it."""
        return self.wanted and self.given_up_reason is None and not self.interferograms

    @property
    def running(self) -> bool:
        return self.hopeful and self.job_state in _LIVE


@dataclass(frozen=True, slots=True)
class Settled:
    """A state with its reason and, while it is pending, its deadline."""

    state: AcquisitionState
    reason: str | None = None
    until: datetime | None = None


def settle(
    acquisition: Acquisition, pairs: Sequence[PairFacts], rules: NetworkRules, as_of: datetime
) -> Settled:
    """Explain an acquisition, as of now. The only inputs are facts, so asking twice gives the same answer."""
    if any(pair.used for pair in pairs):
        return Settled(AcquisitionState.USED)
    if acquisition.missing_bursts:
        missing = ", ".join(acquisition.missing_bursts)
        return _until(
            acquisition.acquired_at + CATALOGUE_PATIENCE, as_of, f"the catalogue does not show {missing}"
        )
    running = [pair for pair in pairs if pair.running]
    if running:
        intended_at = max(p.job_intended_at for p in running if p.job_intended_at is not None)
        return _until(intended_at + JOB_PATIENCE, as_of, f"jobs for {_dates(running)} have not ended")
    hopeful = [pair for pair in pairs if pair.hopeful]
    if hopeful:
        planned_at = max(p.planned_at for p in hopeful)
        return _until(planned_at + ORDER_PATIENCE, as_of, f"{_dates(hopeful)} not ordered yet")
    return _without_hope(acquisition, [p for p in pairs if p.wanted or p.interferograms], rules, as_of)


def _without_hope(
    acquisition: Acquisition, pairs: Sequence[PairFacts], rules: NetworkRules, as_of: datetime
) -> Settled:
    """Nothing runs for it; a later acquisition may still pair with it."""
    if not pairs and rules.only is not None:
        return Settled(
            AcquisitionState.REJECTED, "the site file names its pairs, and this date is in none of them"
        )
    why = "; ".join(_fate(pair) for pair in pairs) or (
        f"no other acquisition within {rules.max_days} days and {rules.max_perpendicular_m:g} m"
    )
    partners_end = acquisition.acquired_at + timedelta(days=rules.max_days) + CATALOGUE_PATIENCE
    if as_of <= partners_end and rules.only is None:
        return Settled(AcquisitionState.PENDING, f"{why}; a later acquisition may pair with it", partners_end)
    if pairs and all(pair.excluded for pair in pairs):
        return Settled(AcquisitionState.REJECTED, why)
    return Settled(AcquisitionState.UNAVAILABLE, why)


def _until(deadline: datetime, as_of: datetime, why: str) -> Settled:
    if as_of <= deadline:
        return Settled(AcquisitionState.PENDING, why, deadline)
    return Settled(AcquisitionState.UNAVAILABLE, f"{why} by {deadline:%Y-%m-%d}")


def _fate(pair: PairFacts) -> str:
    reasons = [f"{state}: {reason}" for state, reason in pair.interferograms]
    reasons += [f"given up: {pair.given_up_reason}"] if pair.given_up_reason else []
    return f"{pair.reference} to {pair.secondary} {', '.join(reasons)}"


def _dates(pairs: Sequence[PairFacts]) -> str:
    return ", ".join(f"{p.reference} to {p.secondary}" for p in pairs)


def holds_judgement(pair: PairFacts, as_of: datetime) -> bool:
    """Whether the acquisition that this pair ends with is worth waiting for before it is judged."""
    return pair.hopeful and as_of - pair.planned_at <= JOB_PATIENCE

"""Judgement as it is lived: acquisitions that are new, late, repeated, missing or batched, crashes, edits of the rules.

Whatever happens, the ledger holds what one undisturbed life over the same acquisitions would have decided.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import count, pairwise

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.judgement import Judged, WatchState
from sagwatch.domain.message import Origin
from sagwatch.domain.rules import rules_sha256
from sagwatch.steps.compose_messages import compose_messages
from sagwatch.steps.judge import Solution, judge_settled
from tests.database.published import make_revision, make_site
from tests.domain.moving_ground import Basin, days_of, grid_of, invent_ground

SHAPE = (28, 28)
EPOCHS = 44
FIRST_JUDGED = 7
DAYS = days_of(EPOCHS)
#: Acquisitions at which the basin's pixels have no data.
BLIND = (18, 19, 20, 33)
RULE_SETS = (AlertRules(), AlertRules(deadband_mm_yr=30), AlertRules(levels_mm_yr=(-30, -90, -250)))
NUMBERS = count()


class CrashError(Exception):
    """The process dies before it commits."""


@lru_cache(maxsize=1)
def ground() -> tuple[np.ndarray, np.ndarray]:
    """Displacement, and what was observed."""
    los_m = invent_ground(5, EPOCHS, SHAPE, [Basin(-350, 9, 24, sigma_m=260)], 3.0, 2.0)
    seen = np.ones(los_m.shape, dtype=bool)
    for epoch in BLIND:
        seen[epoch, 8:20, 8:20] = False
    return los_m, seen


def solution_of(known: frozenset[int], day: date) -> Solution:
    """The solution that ends with a day, from the acquisitions that are known."""
    los_m, seen = ground()
    numbers = [n for n in sorted(known) if DAYS[n] <= day]
    return Solution(
        tuple(DAYS[n] for n in numbers), los_m[numbers], np.ones(SHAPE, np.float32), seen[numbers], 39.0
    )


def live(
    track_id: str, known: frozenset[int], numbers: list[int], state: WatchState, rules: AlertRules
) -> list[Judged]:
    return judge_settled(
        track_id,
        grid_of(SHAPE),
        rules,
        0.7,
        [DAYS[n] for n in numbers],
        state,
        lambda day: solution_of(known, day),
    )


class Watching(RuleBasedStateMachine):
    """One site's life; ``undisturbed`` is what a process that never died would remember and have decided."""

    ledger: Ledger

    @initialize()
    def open_the_mine(self) -> None:
        contacts = [{"name": "Shift", "email": "shift@example.org"}]
        self.site = make_site(f"mine_{next(NUMBERS)}", *SHAPE, contacts=contacts)
        self.track_id = self.site.tracks[0].id
        self.as_of = datetime(2020, 1, 1, tzinfo=UTC)
        self.ledger.sites.sync([self.site], self.as_of)
        self.revision_id = f"{self.site.name}-1"
        revision = make_revision(1, DAYS[:5], self.track_id)
        self.ledger.revisions.write_down(
            type(revision)(
                **{**{f: getattr(revision, f) for f in revision.__slots__}, "id": self.revision_id}
            ),
            self.as_of,
        )
        self.known: set[int] = set(range(FIRST_JUDGED))
        self.next = FIRST_JUDGED
        self.held_back: set[int] = set()
        self.rules = RULE_SETS[0]
        self.undisturbed, self.decided = WatchState(), []
        self.judged: set[int] = set()
        self.straight = True

    # --- what may happen ---------------------------------------------------------------------------------------------

    @rule(n=st.integers(1, 9))
    def acquisitions_come(self, n: int) -> None:
        self.known |= set(range(self.next, min(EPOCHS, self.next + n)))
        self.next = min(EPOCHS, self.next + n)

    @rule()
    def an_acquisition_is_held_back(self) -> None:
        """It comes late, or never."""
        if self.next < EPOCHS:
            self.held_back.add(self.next)
            self.next += 1

    @rule()
    def a_late_acquisition_comes(self) -> None:
        if self.held_back:
            late = min(self.held_back)
            self.held_back.discard(late)
            self.known.add(late)
            self.straight = self.straight and not any(judged > late for judged in self.judged)

    @rule(which=st.integers(0, EPOCHS - 1))
    def an_acquisition_comes_again(self, which: int) -> None:
        known = sorted(self.known)
        self.known.add(known[which % len(known)])

    @rule(which=st.sampled_from(RULE_SETS))
    def the_rules_are_edited(self, which: AlertRules) -> None:
        self.straight = self.straight and (which == self.rules or not self.judged)
        self.rules = which

    @rule()
    def a_run(self) -> None:
        judged = self._publish(crash=False)
        expected = live(self.track_id, frozenset(self.known), self._settled(), self.undisturbed, self.rules)
        assert [one.events for one in judged] == [one.events for one in expected]
        for one in expected:
            self.undisturbed = one.state
            self.decided += one.events
        self.judged |= set(self._new())

    @rule()
    def a_run_that_dies(self) -> None:
        with contextlib.suppress(CrashError):
            self._publish(crash=True)

    def _new(self) -> list[int]:
        return [n for n in sorted(self.known) if n >= FIRST_JUDGED and n not in self.judged]

    def _settled(self) -> list[int]:
        last = self.undisturbed.last_epoch or date.min
        return [n for n in self._new() if DAYS[n] > last]

    def _publish(self, crash: bool) -> list[Judged]:
        """What `publish_revision` does in its transaction, as far as judgement goes."""
        self.as_of += timedelta(days=1)
        with self.ledger.begin() as session:
            state = self.ledger.alerts.load_state(session, self.track_id)
            before = self.ledger.alerts.judged_epochs(session, self.track_id)
        new = [n for n in sorted(self.known) if n >= FIRST_JUDGED and DAYS[n] not in before]
        last = state.last_epoch or date.min
        judged = live(
            self.track_id, frozenset(self.known), [n for n in new if DAYS[n] > last], state, self.rules
        )
        origin = Origin(
            "mine", self.track_id, "ascending", self.revision_id, 1, 9, "0" * 16, 37.4, 110.8, DAYS[-1], None
        )
        with self.ledger.begin() as session:
            alerts = self.ledger.alerts
            digest = alerts.note_rules(session, self.site.name, self.rules, self.as_of)
            late = [DAYS[n] for n in new if DAYS[n] <= last]
            alerts.note_late(session, self.track_id, late, self.revision_id, digest, self.as_of)
            for one in judged:
                assert alerts.save_judgement(
                    session, self.track_id, one, grid_of(SHAPE), self.revision_id, digest, self.as_of
                )
            compose_messages(self.ledger.outbox, session, self.site, judged, origin, DAYS_AS_TOLD)
            if crash:
                raise CrashError
        return judged

    # --- what must always hold ---------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_holds_what_an_undisturbed_life_decided(self) -> None:
        with self.ledger.begin() as session:
            events = session.scalars(
                select(models.AlertEvent).where(models.AlertEvent.track_id == self.track_id)
            ).all()
            epochs = session.scalars(
                select(models.Judgement.epoch).where(models.Judgement.track_id == self.track_id)
            ).all()
            digests = set(
                session.scalars(
                    select(models.Judgement.rules_sha256).where(models.Judgement.track_id == self.track_id)
                )
            )
            versions = set(
                session.scalars(
                    select(models.AlertRule.sha256).where(models.AlertRule.site == self.site.name)
                )
            )
            messages = session.scalar(
                select(func.count()).where(
                    models.Message.site == self.site.name, models.Message.kind == "alert"
                )
            )
        assert sorted(event.id for event in events) == sorted(event.id for event in self.decided)
        assert sorted(epochs) == sorted(DAYS[n] for n in self.judged)
        assert digests <= versions, "something was judged with rules that nobody wrote down"
        assert messages == sum(event.is_news for event in self.decided)
        self._every_alert_is_one_story(events)

    def _every_alert_is_one_story(self, events: list[models.AlertEvent]) -> None:
        for alert_id in {event.alert_id for event in events}:
            story = sorted((e for e in events if e.alert_id == alert_id), key=lambda event: event.epoch)
            assert story[0].type == "raised"
            assert all(
                (after.from_level, after.from_state in ("raised", "clearing")) == (before.to_level, True)
                for before, after in pairwise(story)
            )
            assert all(event.type not in ("cleared", "merged") for event in story[:-1])

    @invariant()
    def missing_data_never_clears(self) -> None:
        blind = {DAYS[n] for n in BLIND}
        assert not [
            e for e in self.decided if e.rule == "R1" and e.type in ("cleared", "better") and e.epoch in blind
        ]

    def teardown(self) -> None:
        """Where nothing came late and no rule changed, one replay of all at once gives the same ids and events."""
        if not self.judged or not self.straight:
            return
        replay = live(self.track_id, frozenset(self.known), sorted(self.judged), WatchState(), self.rules)
        assert [event.id for one in replay for event in one.events] == [event.id for event in self.decided]
        assert replay[-1].state == self.undisturbed


#: Single messages go out for every event: nobody is told a summary here.
DAYS_AS_TOLD = datetime(2020, 1, 1, tzinfo=UTC)


def test_judgement_survives_whatever_comes(ledger: Ledger) -> None:
    machine = type("WatchingOverALedger", (Watching,), {"ledger": ledger})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=18,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),  # a life is long: making a failing one shorter takes many minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_ground_of_these_lives_raises_clears_and_goes_blind() -> None:
    judged = live(
        "mine/t011a", frozenset(range(EPOCHS)), list(range(FIRST_JUDGED, EPOCHS)), WatchState(), RULE_SETS[0]
    )
    kinds = {(event.rule, event.type) for one in judged for event in one.events}

    assert {("R1", "raised"), ("R1", "worse"), ("R1", "cleared"), ("R7", "raised")} <= kinds
    assert rules_sha256(RULE_SETS[0]) != rules_sha256(RULE_SETS[1])

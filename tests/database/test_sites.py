"""Sites and tracks: archived and never deleted, and a grid with data never moves."""

from datetime import timedelta

import pytest

from sagwatch.errors import BadInputError
from tests.database.published import START, TRACK, at, epochs, make_revision, make_site

LATER = START + timedelta(days=30)


def other_grid(**changes):
    track = make_site(**changes).tracks[0].model_dump(exclude={"site"})
    return make_site(tracks=[{**track, "grid": {**track["grid"], "west": 480080}}], **changes)


def test_a_site_is_known_after_its_first_sync(ledger):
    ledger.sites.sync([make_site()], START)

    site, track = ledger.sites.site("anyang"), ledger.sites.track(TRACK)

    assert (site.title, site.first_seen_at, site.archived_at) == ("An invented mine", START, None)
    assert (track.site, track.relative_orbit, track.direction, track.fence) == ("anyang", 11, "ascending", 0)
    assert track.grid_id == make_site().tracks[0].grid.grid().id


def test_a_site_whose_file_is_gone_is_archived_and_comes_back_as_it_was(ledger):
    ledger.sites.sync([make_site(), make_site("other")], START)
    ledger.sites.pin_reference(TRACK, 3, 4, 37.4, 110.8, "stable", START)

    ledger.sites.sync([make_site("other")], LATER)
    assert ledger.sites.site("anyang").archived_at == LATER
    assert ledger.sites.track(TRACK).archived_at == LATER
    assert ledger.sites.site("other").archived_at is None
    ledger.sites.sync([make_site("other")], LATER + timedelta(days=1))
    assert ledger.sites.site("anyang").archived_at == LATER

    ledger.sites.sync([make_site(), make_site("other")], LATER + timedelta(days=9))
    track = ledger.sites.track(TRACK)
    assert (ledger.sites.site("anyang").archived_at, track.archived_at, track.reference_row) == (
        None,
        None,
        3,
    )
    assert ledger.sites.site("anyang").first_seen_at == START


def test_a_site_with_a_broken_file_is_not_archived(ledger):
    ledger.sites.sync([make_site(), make_site("other")], START)

    ledger.sites.sync([make_site("other")], LATER, unreadable=["anyang"])

    assert ledger.sites.site("anyang").archived_at is None


def test_a_site_of_one_dag_leaves_the_others_alone(ledger):
    ledger.sites.sync([make_site(), make_site("other")], START)

    ledger.sites.sync_site(make_site(title="New"), LATER)

    assert (ledger.sites.site("anyang").title, ledger.sites.site("other").archived_at) == ("New", None)


def test_a_changed_site_file_leaves_a_trace_and_an_unchanged_one_none(ledger):
    ledger.sites.sync([make_site()], START)
    ledger.sites.sync([make_site()], LATER)
    assert ledger.sites.site("anyang").changed_at == START

    ledger.sites.sync([make_site(title="Renamed")], LATER)

    assert ledger.sites.site("anyang").changed_at == LATER
    with ledger.begin() as session:
        from sagwatch.adapters.database.models import OperationEvent

        events = session.query(OperationEvent).all()
    assert [(event.kind, event.details["before"]["title"]) for event in events] == [
        ("site_changed", "An invented mine")
    ]


def test_a_grid_may_change_as_long_as_nothing_lives_on_it(ledger):
    ledger.sites.sync([make_site()], START)

    ledger.sites.sync([other_grid()], LATER)

    assert ledger.sites.track(TRACK).grid["west"] == 480080


@pytest.mark.parametrize("data", ["revision", "reference"])
def test_a_grid_with_data_may_not_change_and_other_sites_are_synced_all_the_same(ledger, data):
    ledger.sites.sync([make_site()], START)
    if data == "revision":
        ledger.revisions.write_down(make_revision(1, epochs(3)), at(1))
    else:
        ledger.sites.pin_reference(TRACK, 3, 4, 37.4, 110.8, "stable", START)

    with pytest.raises(BadInputError, match=r"site anyang, key tracks\.t011a\.grid.*Restore the grid"):
        ledger.sites.sync([other_grid(title="Renamed"), make_site("zeta")], LATER)

    assert ledger.sites.track(TRACK).grid["west"] == 480000
    assert ledger.sites.site("anyang").title == "An invented mine"
    assert ledger.sites.site("zeta").archived_at is None


def test_the_reference_is_pinned_once(ledger):
    ledger.sites.sync([make_site()], START)
    ledger.sites.pin_reference(TRACK, 3, 4, 37.4, 110.8, "highest coherence", START)
    ledger.sites.pin_reference(TRACK, 3, 4, 37.4, 110.8, "asked again", LATER)

    with pytest.raises(BadInputError, match=r"row 3, column 4 \(highest coherence\)"):
        ledger.sites.pin_reference(TRACK, 5, 5, 37.4, 110.8, "better", LATER)

    track = ledger.sites.track(TRACK)
    assert (
        track.reference_row,
        track.reference_column,
        track.reference_reason,
        track.reference_pinned_at,
    ) == (
        3,
        4,
        "highest coherence",
        START,
    )


def test_what_the_ledger_does_not_know_is_named_with_what_it_knows(ledger):
    ledger.sites.sync([make_site()], START)

    with pytest.raises(BadInputError, match="no site shaku; it knows anyang"):
        ledger.sites.site("shaku")
    with pytest.raises(BadInputError, match="no track anyang/t018d"):
        ledger.sites.track("anyang/t018d")


def test_news_about_the_pipeline_is_told_once(ledger):
    news = {"dedupe_key": "credits:2024-01", "as_of": START, "site": "anyang"}

    assert ledger.operations.record("no_credits", "no credits are left", **news) is True
    assert ledger.operations.record("no_credits", "no credits are left, again", **news) is False


def test_news_of_a_transaction_that_fails_was_never_told(ledger):
    def fail():
        with ledger.begin() as session:
            ledger.operations.record("k", "t", dedupe_key="x", as_of=START, session=session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert ledger.operations.record("k", "t", dedupe_key="x", as_of=START) is True

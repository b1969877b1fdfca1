"""Which acquisitions the rehearsal shows at once, and which one by one."""

from datetime import UTC, datetime, timedelta

import pytest

from launcher.layout import LauncherError
from launcher.rehearsal import plan

FIRST = datetime(2024, 1, 1, 10, 37, tzinfo=UTC)


def timeline(count, late=()):
    """Acquisitions every 12 days; the catalogue shows them 20 hours later, some of them a month later."""
    items = []
    for i in range(count):
        acquired = FIRST + timedelta(days=12 * i)
        delay = timedelta(days=30) if i in late else timedelta(hours=20)
        items.append({"date": f"{acquired:%Y-%m-%d}", "visible": (acquired + delay).isoformat()})
    return items


def test_twenty_at_once_and_then_ten_one_by_one():
    items = timeline(60)

    stages = plan(items, "2024-01-01")

    assert [stage.acquisitions for stage in stages] == [20, *[1] * 10]
    assert stages[0].date == items[19]["date"]
    assert [stage.date for stage in stages[1:]] == [item["date"] for item in items[20:30]]
    assert stages[-1].visible == datetime.fromisoformat(items[29]["visible"])


def test_more_live_ones_on_demand_and_never_beyond_what_there_is():
    assert len(plan(timeline(60), "2024-01-01", more=3)) == 14
    assert len(plan(timeline(31), "2024-01-01", more=30)) == 31
    assert sum(stage.acquisitions for stage in plan(timeline(31), "2024-01-01", more=30)) == 31


def test_a_short_archive_keeps_its_last_four_for_the_live_part():
    stages = plan(timeline(9), "2024-01-01")

    assert [stage.acquisitions for stage in stages] == [5, 1, 1, 1, 1]


def test_what_was_acquired_before_the_site_does_not_count():
    stages = plan(timeline(60), "2024-03-01")

    assert stages[0].date == timeline(60)[5 + 19]["date"]


def test_a_late_acquisition_comes_in_the_order_in_which_it_shows():
    items = timeline(40, late={21})

    stages = plan(items, "2024-01-01")

    shown = [stage.visible for stage in stages]
    assert shown == sorted(shown)
    assert [stage.date for stage in stages[1:5]] == [items[i]["date"] for i in (20, 22, 23, 21)]


def test_a_reprocessed_acquisition_is_one_acquisition():
    items = timeline(60)
    again = {**items[3], "visible": (FIRST + timedelta(days=200)).isoformat()}

    assert plan([*items, again], "2024-01-01") == plan(items, "2024-01-01")


def test_an_empty_catalogue_is_an_error_that_names_the_day():
    with pytest.raises(LauncherError, match="2030-01-01"):
        plan(timeline(9), "2030-01-01")

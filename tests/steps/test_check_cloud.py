"""Trying the services with a site's settings, without ordering or spending anything."""

import pytest
from hyp3_sdk import HyP3

from sagwatch.adapters.asf import AsfCatalogue
from sagwatch.errors import StopAndAskError
from sagwatch.steps.check_cloud import check_cloud
from tests.steps.small_site import small_system


@pytest.fixture
def system(tmp_path, ledger):
    with small_system(tmp_path, ledger) as running:
        yield running


def lines(system):
    catalogue = AsfCatalogue(system.sim.url)
    return list(check_cloud(system.site, system.track, catalogue, system.cloud, system.now))


def test_the_services_are_tried_and_nothing_is_ordered_or_spent(system):
    system.sim.show(3)
    credits_before = system.cloud.remaining_credits()

    said = lines(system)

    assert "3 acquisitions with all bursts in VV: 2024-01-01, 2024-01-13, 2024-01-25" in said[0]
    assert f"{credits_before:g} credits left" in said[1]
    assert said[-1] == "HyP3: would take the pair 2024-01-13 to 2024-01-25; nothing was ordered"
    assert system.cloud.remaining_credits() == credits_before
    assert len(HyP3(api_url=system.sim.url, token="any").find_jobs()) == 0


def test_one_acquisition_is_no_pair_to_validate(system):
    system.sim.show(1)

    assert lines(system)[-1] == "HyP3: nothing to validate, a pair needs two acquisitions"


def test_a_token_that_is_refused_is_told(system):
    system.sim.show(2)
    system.token = "expired"

    with pytest.raises(StopAndAskError):
        lines(system)

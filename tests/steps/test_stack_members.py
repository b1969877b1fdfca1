"""The site's rules in the engine's words."""

from __future__ import annotations

from sagwatch.domain.stack_rules import DatumRules
from sagwatch.steps.stack_members import correction_settings
from tests.steps.small_site import small_site


def test_what_displacements_refer_to_is_the_sites_rule():
    site = small_site("011_021697_IW3")
    (track,) = site.tracks
    steady = site.model_copy(update={"datum": DatumRules(refer_to="steady_ground")})

    assert correction_settings(site, track) is None
    assert correction_settings(steady, track).refer_to == "steady_ground"

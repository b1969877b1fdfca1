"""Bridging on the way from product to interferogram: a switch of the site that renames nothing while it is off."""

import json

import numpy as np

from sagwatch.engine.interferogram import read_layers
from sagwatch.engine.unwrapping import bridge_components
from sagwatch.steps.stack_members import track_store
from tests.steps.small_site import small_system

_ROWS = "SELECT pair_id, id, path, config_sha256, unwrapping FROM sagwatch.interferogram ORDER BY made_at, id"


def test_bridging_makes_other_interferograms_and_the_ledger_says_what_it_did(tmp_path, ledger):
    with small_system(tmp_path, ledger) as system:
        system.sim.show(3)
        system.run()
        plain = system.query(_ROWS)
        assert plain
        assert all(row[4] is None for row in plain)
        # As after a change of the site file: every product once more.
        system.execute(
            "DELETE FROM sagwatch.interferogram", "DELETE FROM sagwatch.product",
            "UPDATE sagwatch.job SET state = 'succeeded' WHERE state = 'fetched'",
        )  # fmt: skip
        bridging = system.with_site(corrections={"unwrapping": {"bridge": True}})
        bridging.fetch_all()
        bridged = system.query(_ROWS)

        assert {row[0] for row in bridged} == {row[0] for row in plain}
        assert not {row[1] for row in bridged} & {row[1] for row in plain}
        assert len({row[3] for row in (*plain, *bridged)}) == 2
        before = {row[0]: read_layers(system.data / row[2]) for row in plain}
        land = track_store(system.track, system.data).read_geometry().land
        for pair, _, path, _, said in bridged:
            expected, found = bridge_components(before[pair], land)
            assert said == json.loads(json.dumps(found.as_json()))
            np.testing.assert_array_equal(read_layers(system.data / path).phase_rad, expected.phase_rad)

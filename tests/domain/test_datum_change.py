"""Another reference point in the middle of a record: every displacement changes, and no alert does by that."""

import numpy as np

from tests.domain.moving_ground import Basin, history, invent_ground, live_through

SHAPE = (80, 80)
EPOCHS = 56
CHANGE = 34


def test_moving_the_reference_to_other_quiet_ground_raises_and_clears_nothing():
    """The new point drifts by 8 mm/yr and has an atmosphere of its own; the basin's alert is open at the change."""
    los_m = invent_ground(5, EPOCHS, SHAPE, [Basin(-120, 8)])
    drift_m = 0.008 / 365.25 * 12 * np.arange(EPOCHS)[:, None, None]
    moved_m = (los_m - los_m[:, 70:71, 10:11] - drift_m).astype(np.float32)
    assert np.abs(moved_m - los_m).max() > 0.01

    before = live_through(los_m, range(9, CHANGE))
    stayed = live_through(los_m, range(CHANGE, EPOCHS), before[-1].state)
    changed = live_through(moved_m, range(CHANGE, EPOCHS), before[-1].state)

    assert [kind for _, kind, _ in history(before)][:1] == ["raised"]
    assert [event[1:] for event in history(changed)] == [event[1:] for event in history(stayed)]
    assert not [event for event in history(changed) if event[0] == CHANGE]
    alive = [{zone.id for zone in judged[-1].state.zones if zone.lives} for judged in (stayed, changed)]
    assert alive[0] == alive[1]
    assert alive[0]

"""Our weights are MintPy's, bit by bit."""

import numpy as np
import pytest
from mintpy.simulation import decorrelation

from sagwatch.engine.weights import Weight, independent_looks, phase_variance, weigh
from sagwatch.errors import BadInputError


def _coherences() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([np.linspace(-0.1, 1.0, 4001), rng.random(4000)]).astype(np.float32)


@pytest.mark.parametrize("weight", [Weight.VARIANCE, Weight.FISHER, Weight.COHERENCE])
@pytest.mark.parametrize("looks", [1, 2, 10, 41, 80, 100])
def test_weights_equal_mintpys_to_the_last_bit(weight, looks):
    coherence = _coherences()

    ours = weigh(coherence, weight, looks)

    theirs = decorrelation.coherence2weight(coherence.copy(), weight.value, L=looks, print_msg=False)
    np.testing.assert_array_equal(ours, theirs.astype(np.float64))


def test_an_unknown_coherence_weighs_as_the_lowest():
    unknown = np.array([np.nan], dtype=np.float32)
    lowest = np.array([0.05], dtype=np.float32)

    for weight in Weight:
        assert weigh(unknown, weight, 41) == weigh(lowest, weight, 41)


def test_no_weight_treats_all_alike():
    np.testing.assert_array_equal(weigh(_coherences(), Weight.NONE, 41), 1.0)


@pytest.mark.parametrize(
    ("range_looks", "azimuth_looks", "expected"), [(20, 4, 41), (10, 2, 10), (5, 1, 3), (1, 1, 1)]
)
def test_independent_looks_are_mintpys(range_looks, azimuth_looks, expected):
    assert independent_looks(range_looks, azimuth_looks) == expected


def test_impossible_looks_are_refused():
    with pytest.raises(BadInputError, match="0x4"):
        independent_looks(0, 4)
    with pytest.raises(BadInputError, match="81 looks"):
        phase_variance(81)

"""What goes into the stack, and how it is solved and corrected: the parts of a site file that the numbers depend on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sagwatch.domain.delay import FETCHED_METHODS
from sagwatch.domain.strict import Day, Strict

#: YAML reads a bare off as False.
Closure = Annotated[
    Literal["off", "report", "mask", "repair"], BeforeValidator(lambda said: "off" if said is False else said)
]


class NetworkRules(Strict):
    """Which pairs are wanted."""

    max_days: int = Field(default=30, ge=1, le=1000, description="Longest temporal baseline, days.")
    max_perpendicular_m: float = Field(
        default=300, gt=0, description="Longest perpendicular baseline, metres."
    )
    neighbours: int = Field(
        default=2, ge=1, le=20, description="Pairs to at most so many following acquisitions."
    )
    bridge: bool = Field(
        default=False,
        description="Join a disconnected date to its nearest neighbour in time, beyond the limits.",
    )
    in_pieces: Literal["solve", "refuse"] = Field(
        default="solve",
        description="A network in pieces: MintPy's answer (smallest velocities) and a warning, or no answer.",
    )
    reorder_restituted: bool = Field(
        default=False,
        description="Order a pair that was made with restituted orbits once more, 21 days after its later acquisition, "
        "when the precise ones are out. Costs the credits of those pairs twice; after all first orders, never a third.",
    )
    only: tuple[tuple[Day, Day], ...] | None = Field(
        default=None, description="Exactly these pairs and no others, for archives that exist already."
    )


class CoherenceRules(Strict):
    least_mean: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="An interferogram with a lower mean coherence is left out of the stack. The mean is over all valid "
        "pixels on land of the track's grid (MintPy's coherenceBased takes its area of interest).",
    )
    keep_connected: bool = Field(
        default=True,
        description="Keep the most coherent of those without which acquisitions would be cut off from the rest, and no "
        "more (MintPy's keepMinSpanTree).",
    )
    least_pixel: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="An observation with a lower coherence counts as missing (MintPy's maskThreshold).",
    )


class DatumRules(Strict):
    """What displacements refer to, and where the reference point is looked for; see engine/reference.py."""

    refer_to: Literal["point", "steady_ground"] = Field(
        default="point",
        description="point: the reference point, as in MintPy; its own atmosphere is then in every displacement. "
        "steady_ground: the mean of all ground that is coherent, does not move and lies off the faces. Not where most "
        "of the area may sink as a whole.",
    )

    draw_m: float = Field(
        default=1000, ge=0, description="No reference point so near to a face of the mine plan, metres."
    )
    height_m: float = Field(
        default=100,
        gt=0,
        description="A candidate so far above or below the boundary's median height counts half: the delay that "
        "depends on height maps into everything.",
    )


class InversionRules(Strict):
    """As MintPy's networkInversion."""

    weight: Literal["var", "fim", "coh", "no"] = "var"
    min_redundancy: float = Field(default=1.0, ge=0, le=10)
    min_temporal_coherence: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Points below this are published as not reliable, and raise no alert.",
    )


class TroposphereRules(Strict):
    """Where the troposphere's delay at each acquisition comes from."""

    method: Literal["none", "era5", "gacos", "height_correlation"] = Field(
        default="none",
        description="era5: the weather model, fetched from the Climate Data Store, delays by PyAPS; gacos: files that "
        "somebody puts into the track's folder `gacos`; height_correlation: from the displacements themselves.",
    )
    missing: Literal["mean", "height_correlation"] = Field(
        default="mean",
        description="What stands in while an acquisition has no delay: that of an average acquisition, or what its own "
        "displacements say about their dependence on height.",
    )
    give_up_after_days: int = Field(
        default=120,
        ge=1,
        le=1000,
        description="A delay that did not come (or did not become final) so long after the acquisition is reported, "
        "and asked for once a week from then on.",
    )

    @property
    def is_fetched(self) -> bool:
        """Whether delays come from outside, acquisition by acquisition."""
        return self.method in FETCHED_METHODS


class RampRules(Strict):
    """A plane through each acquisition's displacements, as MintPy's remove_ramp. It may eat what is wide and slow."""

    shape: Literal["none", "linear", "quadratic"] = "none"


class TopographyRules(Strict):
    """The residue of an imperfect height model, as MintPy's dem_error."""

    estimate: bool = False
    polynomial_order: int = Field(
        default=2, ge=1, le=3, description="Of the motion that is estimated beside it."
    )


class UnwrappingRules(Strict):
    """What is done about whole cycles that phase unwrapping got wrong."""

    bridge: bool = Field(
        default=False, description="Join the connected components of each interferogram (MintPy's bridging)."
    )
    closure: Closure = Field(
        default="report",
        description="Where three interferograms of three dates contradict each other by whole cycles. off: do not "
        "look; report: count it; mask: leave the longer ones out there; repair: take the cycles away where two "
        "triangles name the interferogram at fault and a region agrees, and mask the rest. Where the site has a mine "
        "plan, only ground near its faces is treated (exclude_around_faces_m).",
    )
    repair_least_pixels: int = Field(
        default=25,
        ge=1,
        description="With closure: repair, smaller regions of equal cycles are masked instead.",
    )


class CorrectionRules(Strict):
    """What is corrected in the displacements; each part can be switched by itself. MintPy's order."""

    unwrapping: UnwrappingRules = UnwrappingRules()
    troposphere: TroposphereRules = TroposphereRules()
    ramp: RampRules = RampRules()
    topography: TopographyRules = TopographyRules()
    exclude_around_faces_m: float = Field(
        default=500,
        ge=0,
        le=10000,
        description="Ground within this distance of a face of the mine plan never counts as steady: no ramp and no "
        "correlation with height is estimated on it. It is also the ground on which unwrapping errors are treated.",
    )

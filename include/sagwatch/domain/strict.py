"""What all parts of a site file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    # A threshold of NaN is never exceeded: such a site would be silent for ever.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

"""What all parts of a site file have in common."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Strict(BaseModel):
    # A threshold of NaN is never exceeded: such a site would be silent for ever.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _written_out(value: Any) -> Any:
    # pydantic takes numbers for seconds since 1970, and so do empty dates of some programs: a face of "0" would be old.
    if isinstance(value, date) or (isinstance(value, str) and "-" in value):
        return value
    raise ValueError(f"{value!r} is no date; write it as 2024-01-31")


#: A date as people write it, never a number.
Day = Annotated[date, BeforeValidator(_written_out)]

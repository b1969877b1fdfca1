"""Look for whole cycles that unwrapping got wrong, and replace interferograms by masked or repaired ones.

Every decision is made from the interferograms as they were fetched and depends on nothing else, so that the same set
ends with the same files in whatever order and batches it came. Interferograms that triangles will still be completed
about are decided again then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.unwrapping import Original, Treated
from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.domain.site import Site, Track, UnwrappingRules
from sagwatch.engine.attribution import Jury, Network, Repair, Verdict
from sagwatch.engine.closure import Closures, Dates, triangles
from sagwatch.engine.files import sha256_of
from sagwatch.engine.interferogram import Layers, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.store import TrackStore

log = logging.getLogger(__name__)

#: Grows when the way from originals to decisions changes.
RECIPE = 1


def repair_unwrapping(
    site: Site,
    track: Track,
    ledger: Ledger,
    store: TrackStore,
    reference: ReferencePoint,
    data: Path,
    as_of: datetime,
) -> int:
    """Note each interferogram's contradictions, and mask or repair where the site wants it; return how many changed.

    ``site.corrections.unwrapping.closure`` says what is done. Closures are counted from the reference pixel.
    """
    rules = site.corrections.unwrapping
    originals = ledger.unwrapping.originals(track.id)
    by_dates = {(one.reference, one.secondary): one for one in originals}
    network = Network(triangles(list(by_dates)))
    paths = {dates: store.interferogram_path(one.id) for dates, one in by_dates.items()}
    jury = Jury(network, Closures(paths, (reference.row, reference.column)).cycles)
    changed = 0
    for dates, one in by_dates.items():
        of = _depends_on(dates, by_dates, network, rules, reference)
        if one.closure.get("of") == of:
            continue
        facts, repair = _judged(dates, jury, rules)
        treated = None if repair is None else _treat(one, repair, store, data)
        ledger.unwrapping.decide(one.id, {"of": of, **facts}, treated, as_of)
        changed += 1
    if changed:
        log.info("%s: closure of %d of %d interferograms looked at", track.id, changed, len(originals))
    return changed


def _depends_on(
    dates: Dates,
    by_dates: Mapping[Dates, Original],
    network: Network,
    rules: UnwrappingRules,
    reference: ReferencePoint,
) -> str:
    """Hash of everything that the decision about a pair depends on."""
    reach = [[by_dates[leg].id for leg, _ in triangle.legs] for triangle in network.reach(dates)]
    pixel = [reference.row, reference.column]
    return content_sha256([RECIPE, by_dates[dates].id, reach, pixel, rules.closure, rules.least_pixels])


def _judged(dates: Dates, jury: Jury, rules: UnwrappingRules) -> tuple[dict[str, Any], Repair | None]:
    """What triangles say about a pair, and what is done about it (None: nothing)."""
    of_pair = jury.network.of_pair.get(dates, [])
    if not of_pair:
        return {"triangles": 0, "share": None}, None
    wrong, known = jury.contradicted(dates)
    share = float(wrong.sum() / known.sum()) if known.any() else None
    facts = {"triangles": len(of_pair), "share": share}
    # Most pairs of most stacks close everywhere.
    if rules.closure == "report" or not wrong.any():
        return facts, None
    repair = Verdict(rules.closure == "repair", rules.least_pixels).on(jury.accused(dates))
    return facts, repair if repair.changes else None


def _treat(original: Original, repair: Repair, store: TrackStore, data: Path) -> Treated:
    """Write the interferogram that takes the original's place; its name tells what was done to which one."""
    digest = content_sha256([np.packbits(repair.masked).tobytes().hex(), repair.cycles.tobytes().hex()])
    identity = opaque_id("interferogram", original.id, "unwrapping", digest)
    source, target = store.interferogram_path(original.id), store.interferogram_path(identity)
    if not target.exists():
        layers = read_layers(source)
        phase = repair.apply(layers.phase_rad)
        store.write_interferogram(
            identity, Layers(phase, layers.coherence, layers.component), read_attributes(source)
        )
    return Treated(
        id=identity,
        path=str(target.relative_to(data)),
        file_sha256=sha256_of(target),
        masked=int(repair.masked.sum()),
        repaired=int(np.count_nonzero(repair.cycles)),
    )

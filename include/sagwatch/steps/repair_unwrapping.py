"""Whole cycles that unwrapping got wrong: who is at fault, and which interferogram stands in the stack."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.adapters.database.unwrapping import Treated
from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.domain.site import Site, Track
from sagwatch.domain.stack_rules import UnwrappingRules
from sagwatch.engine.closure import Pair, triangles
from sagwatch.engine.closure_files import Phases
from sagwatch.engine.faults import Attribution, Treatment, decide, decision_key
from sagwatch.engine.interferogram import ORIGINAL, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.steady_ground import inside
from sagwatch.engine.store import TrackStore
from sagwatch.steps.stack_members import sinking_areas

log = logging.getLogger(__name__)


def repair_unwrapping(
    site: Site,
    track: Track,
    ledger: Ledger,
    store: TrackStore,
    accepted: Sequence[AcceptedInterferogram],
    reference: ReferencePoint,
    data: Path,
    as_of: datetime,
) -> list[AcceptedInterferogram]:
    """Bring the treated interferograms up to date with the site's rule; return what the stack consists of then.

    Decisions are made from the original interferograms only, so the outcome does not depend on the order of their
    arrival, and is revised when the next triangle comes. Only what depends on something new is decided again. With
    the rules ``off`` and ``report`` the originals come back.
    """
    facts = ledger.unwrapping.facts(track.id)
    rules = site.corrections.unwrapping
    originals = {entry.id: facts[entry.id][0] or entry.id for entry in accepted}
    treats = rules.closure in ("mask", "repair")
    if not treats and not any(facts[entry.id][1].get("decision") for entry in accepted):
        return list(accepted)
    areas = sinking_areas(site, track)
    work = _Work(track, ledger, store, rules, reference, data, as_of, accepted, originals, areas)
    changed = {}
    for entry in accepted:
        found = work.settle(entry, facts[entry.id][1].get("decision", {}))
        if found != entry.id:
            changed[entry.id] = found
    if not changed:
        return list(accepted)
    log.info("%s: %d interferograms changed by the rule %r", track.id, len(changed), rules.closure)
    now = {entry.id: entry for entry in ledger.revisions.accepted_interferograms(track.id)}
    return [now[changed.get(entry.id, entry.id)] for entry in accepted]


def note_closures(
    track: Track,
    ledger: Ledger,
    store: TrackStore,
    accepted: Sequence[AcceptedInterferogram],
    reference: ReferencePoint,
) -> None:
    """Note per interferogram how many triangles it stands in, and how many of their pixels on land contradict.

    Each triangle is looked at once: what was found is noted at its three interferograms.
    """
    facts = ledger.unwrapping.facts(track.id)
    ids = {(entry.reference, entry.secondary): entry.id for entry in accepted}
    held = {name: noted.get("closure", {}).get("of", {}) for name, (_, noted) in facts.items()}
    phases = Phases(store.interferograms, reference.row, reference.column)
    land: NDArray[np.bool_] | None = None
    found: dict[str, dict[str, list[int]]] = {name: {} for name in ids.values()}
    for triangle in triangles(ids):
        names = [ids[pair] for pair in triangle.pairs]
        key = opaque_id("closure", reference.row, reference.column, names)
        counted = next((held[name][key] for name in names if key in held[name]), None)
        if counted is None:
            land = store.read_geometry().land if land is None else land
            whole, known = phases.cycles(triangle, ids)
            counted = [int(np.count_nonzero(where & land)) for where in (whole != 0, known)]
        for name in names:
            found[name][key] = counted
    notes = {}
    for name, of in found.items():
        if of != held[name] or "closure" not in facts[name][1]:
            contradicting, covered = (sum(counted[i] for counted in of.values()) for i in (0, 1))
            share = contradicting / covered if covered else None
            notes[name] = {"closure": {"of": of, "triplets": len(of), "contradicting_share": share}}
    ledger.unwrapping.note(notes)


@dataclass(frozen=True)
class _Work:
    """One bringing up to date.

    ``originals`` maps accepted ids to those that decisions are made from; ``areas`` is what the faces draw along.
    """

    track: Track
    ledger: Ledger
    store: TrackStore
    rules: UnwrappingRules
    reference: ReferencePoint
    data: Path
    as_of: datetime
    accepted: Sequence[AcceptedInterferogram]
    originals: Mapping[str, str]
    areas: tuple[str, ...]

    @cached_property
    def ids(self) -> dict[Pair, str]:
        return {(entry.reference, entry.secondary): self.originals[entry.id] for entry in self.accepted}

    @cached_property
    def attribution(self) -> Attribution:
        phases = Phases(self.store.interferograms, self.reference.row, self.reference.column)
        land = self.store.read_geometry().land
        return Attribution(self.ids, lambda triangle: phases.cycles_on_land(triangle, self.ids, land))

    @cached_property
    def where(self) -> NDArray[np.bool_] | None:
        """Ground that may sink so fast that cycles are lost; all of it where nobody knows the faces."""
        return inside(self.areas, self.store.grid) if self.areas else None

    def settle(self, entry: AcceptedInterferogram, noted: Mapping[str, Any]) -> str:
        """Decide about one interferogram, unless what it depends on is as it was; return the id that stands now."""
        rule, original = self.rules.closure, self.originals[entry.id]
        if rule == "off" or rule == "report":
            if entry.id != original:
                self._replace(entry, original, "the site does not ask for treatment any more", {})
            elif noted:
                self.ledger.unwrapping.note({original: {"decision": {}}})
            return original
        pair, least = (entry.reference, entry.secondary), self.rules.repair_least_pixels
        place = self.reference.row, self.reference.column
        key = decision_key(self.attribution, pair, self.ids, rule, least, place, self.areas)
        if noted.get("key") == key:
            return entry.id
        treatment = decide(self.attribution, pair, rule, least, self.where)
        counted = {"masked": 0, "repaired": 0, "ambiguous": 0} if treatment is None else treatment.as_json()
        decision = {"key": key, "rule": rule, **counted}
        new = self._treated(entry, treatment) if treatment is not None and treatment.changes else original
        name = new if isinstance(new, str) else new.id
        if name == entry.id:
            self.ledger.unwrapping.note({name: {"decision": decision}})
        else:
            why = f"{counted['repaired']} pixels repaired, {counted['masked']} masked"
            self._replace(
                entry, new, why if counted["repaired"] + counted["masked"] else "no fault is left", decision
            )
        return name

    def _treated(self, entry: AcceptedInterferogram, treatment: Treatment) -> Treated:
        """Write the treated interferogram's file; once written it never changes, so doing it again changes nothing."""
        original = self.originals[entry.id]
        content = treatment.sha256
        name = opaque_id("treated", original, content)
        source = self.store.interferogram_path(original)
        layers = read_layers(source)
        layers = replace(layers, phase_rad=treatment.apply(layers.phase_rad))
        attributes = read_attributes(source) | {ORIGINAL: original}
        sha256 = self.store.write_interferogram(name, layers, attributes)
        path = str(self.store.interferogram_path(name).relative_to(self.data))
        return Treated(name, content_sha256([original, "treated", content]), path, sha256)

    def _replace(
        self, entry: AcceptedInterferogram, new: Treated | str, why: str, decision: Mapping[str, Any]
    ) -> None:
        name = new if isinstance(new, str) else new.id
        reason = f"replaced by {name}: {why}"
        log.info("%s: interferogram %s_%s %s", self.track.id, entry.reference, entry.secondary, reason)
        self.ledger.unwrapping.replace(entry.id, new, reason, {"decision": dict(decision)}, self.as_of)

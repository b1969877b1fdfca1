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

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.adapters.database.unwrapping import Treated
from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.domain.site import Site, Track, UnwrappingRules
from sagwatch.engine.closure import Pair, Triangle, triangles
from sagwatch.engine.closure_files import Phases
from sagwatch.engine.faults import Attribution, Closure, Treatment, decide, decision_key
from sagwatch.engine.interferogram import read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.store import TrackStore

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
    the rule ``report`` the originals come back.
    """
    facts = ledger.unwrapping.facts(track.id)
    rules = site.corrections.unwrapping
    originals = {entry.id: facts[entry.id][0] or entry.id for entry in accepted}
    if rules.closure == "report" and all(new == old for new, old in originals.items()):
        return list(accepted)
    work = _Work(track, ledger, store, rules, reference, data, as_of, accepted, originals)
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
    """Note per interferogram in how many triangles it stands, and the share of its pixels that they contradict.

    Of the pixels that at least one complete triangle covers. Interferograms whose triangles are those of the last
    time are not looked at.
    """
    facts = ledger.unwrapping.facts(track.id)
    ids = {(entry.reference, entry.secondary): entry.id for entry in accepted}
    phases = Phases(store.interferograms, reference.row, reference.column)
    by_pair: dict[Pair, list[Triangle]] = {pair: [] for pair in ids}
    for triangle in triangles(ids):
        for pair in triangle.pairs:
            by_pair[pair].append(triangle)
    notes = {}
    for pair, found in by_pair.items():
        members = [[ids[one] for one in triangle.pairs] for triangle in found]
        key = opaque_id("closure", reference.row, reference.column, members)
        if facts[ids[pair]][1].get("closure", {}).get("key") == key:
            continue
        wrong, covered = np.zeros(store.grid.shape, np.bool_), np.zeros(store.grid.shape, np.bool_)
        for triangle in found:
            whole, known = phases.cycles(triangle, ids)
            wrong |= whole != 0
            covered |= known
        share = float(wrong.sum() / covered.sum()) if covered.any() else None
        notes[ids[pair]] = {"closure": {"key": key, "triplets": len(found), "contradicting_share": share}}
    ledger.unwrapping.note(notes)


@dataclass(frozen=True)
class _Work:
    """One bringing up to date; ``originals`` maps accepted ids to those that decisions are made from."""

    track: Track
    ledger: Ledger
    store: TrackStore
    rules: UnwrappingRules
    reference: ReferencePoint
    data: Path
    as_of: datetime
    accepted: Sequence[AcceptedInterferogram]
    originals: Mapping[str, str]

    @cached_property
    def ids(self) -> dict[Pair, str]:
        return {(entry.reference, entry.secondary): self.originals[entry.id] for entry in self.accepted}

    @cached_property
    def attribution(self) -> Attribution:
        phases = Phases(self.store.interferograms, self.reference.row, self.reference.column)
        land = self.store.read_geometry().land

        def closure(triangle: Triangle) -> Closure:
            # Water is noise, and nobody reads it: without it most interferograms stay as they are.
            whole, known = phases.cycles(triangle, self.ids)
            return np.where(land, whole, 0).astype(np.int16), known & land

        return Attribution(self.ids, closure)

    def settle(self, entry: AcceptedInterferogram, noted: Mapping[str, Any]) -> str:
        """Decide about one interferogram, unless what it depends on is as it was; return the id that stands now."""
        rule, original = self.rules.closure, self.originals[entry.id]
        if rule == "report":
            if entry.id != original:
                self._replace(entry, original, "the site's rule is to report only", {})
            return original
        pair, least = (entry.reference, entry.secondary), self.rules.repair_least_pixels
        place = self.reference.row, self.reference.column
        key = decision_key(self.attribution, pair, self.ids, rule, least, place)
        if noted.get("key") == key:
            return entry.id
        treatment = decide(self.attribution, pair, rule, least)
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
        sha256 = self.store.write_interferogram(name, layers, read_attributes(source))
        path = str(self.store.interferogram_path(name).relative_to(self.data))
        return Treated(name, content_sha256([original, "treated", content]), path, sha256)

    def _replace(
        self, entry: AcceptedInterferogram, new: Treated | str, why: str, decision: Mapping[str, Any]
    ) -> None:
        name = new if isinstance(new, str) else new.id
        reason = f"replaced by {name}: {why}"
        log.info("%s: interferogram %s_%s %s", self.track.id, entry.reference, entry.secondary, reason)
        self.ledger.unwrapping.replace(entry.id, new, reason, {"decision": dict(decision)}, self.as_of)

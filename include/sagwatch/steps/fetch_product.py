"""Bring one finished job's product into the stack, or into quarantine."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.orders import JobRecord
from sagwatch.adapters.database.products import FetchedProduct, MadeInterferogram
from sagwatch.adapters.product_rasters import ClippedProduct, clip_product
from sagwatch.adapters.product_zip import UnpackedProduct, unpack_product
from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.domain.order import JobState
from sagwatch.domain.product import ProductName, check_granules, check_name
from sagwatch.domain.site import Site, Track
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import parse_parameters, product_attributes
from sagwatch.engine.interferogram import Layers
from sagwatch.engine.store import TrackStore
from sagwatch.engine.unwrapping import bridge
from sagwatch.errors import BadInputError, BadProductError, GoneError, TryAgainError
from sagwatch.settings import ProductSettings
from sagwatch.steps.ports import InsarCloud
from sagwatch.steps.settle_acquisitions import settle_acquisitions

log = logging.getLogger(__name__)

#: Grows when the way from product to interferogram changes what is stored.
RECIPE = 2
#: Disk that a download leaves free for everything else, bytes.
RESERVE_BYTES = 512 * 2**20
PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """How it ended: ``accepted``, ``excluded`` (kept, but its coherence is too low for the stack), ``withdrawn`` (the
    pair has another one), ``quarantined`` or ``expired``."""

    job_name: str
    dates: str
    state: str
    interferogram_id: str | None = None
    reason: str | None = None


def fetch_product(
    job_name: str,
    site: Site,
    track: Track,
    cloud: InsarCloud,
    ledger: Ledger,
    data_folder: Path,
    as_of: datetime,
    settings: ProductSettings | None = None,
    pause_seconds: float = PAUSE_SECONDS,
) -> FetchResult:
    """Download, verify, check, clip and store the product of a job; a second call finds it done.

    Raises
    ------
    BadInputError
        There is no such job, or it has not finished.
    TryAgainError, StopAndAskError
        The product could not be had; nothing is decided about it.
    """
    job = ledger.orders.job(job_name)
    if job is None or job.track_id != track.id:
        raise BadInputError(f"track {track.id} has no job {job_name}")
    if job.state != JobState.SUCCEEDED:
        return _earlier_result(job, ledger)
    with _own_folder(data_folder / "incoming" / job.name) as folder:
        fetch = _Fetch(
            job, site, track, ledger, data_folder, folder, as_of, settings or ProductSettings(), pause_seconds
        )
        try:
            result = fetch.run(cloud)
        except GoneError as problem:
            ledger.orders.record_end(job.name, JobState.EXPIRED, as_of, str(problem))
            result = FetchResult(job.name, _dates(job), "expired", reason=str(problem))
    settle_acquisitions(ledger, site, track, as_of)
    reason = f", {result.reason}" if result.reason else ""
    log.info("%s %s: %s%s", track.id, result.dates, result.state, reason)
    return result


def _earlier_result(job: JobRecord, ledger: Ledger) -> FetchResult:
    if job.state == JobState.EXPIRED:
        return FetchResult(job.name, _dates(job), "expired", reason=job.message)
    done = ledger.products.fetched(job.name)
    if done is None:
        raise BadInputError(f"job {job.name} is {job.state}: it has no product to fetch")
    state = done.interferogram_state or done.state
    return FetchResult(job.name, _dates(job), state, done.interferogram_id, done.reason)


@dataclass(frozen=True)
class _Fetch:
    """One product on its way; ``folder`` is private to it."""

    job: JobRecord
    site: Site
    track: Track
    ledger: Ledger
    data_folder: Path
    folder: Path
    as_of: datetime
    settings: ProductSettings
    pause_seconds: float

    @property
    def zip_file(self) -> Path:
        return self.folder / "product.zip"

    @property
    def store(self) -> TrackStore:
        return TrackStore(self.data_folder / self.site.name / self.track.name, self.track.grid.grid())

    def run(self, cloud: InsarCloud) -> FetchResult:
        try:
            unpacked = self._download_and_unpack(cloud)
            parameters = parse_parameters(unpacked.parameters_text)
            product = self._checked(unpacked.name, parameters, unpacked.layers)
        except BadProductError as problem:
            return self._quarantine(str(problem))
        return self._accept(unpacked.name, parameters, product)

    def _download_and_unpack(self, cloud: InsarCloud) -> UnpackedProduct:
        """A transfer may spoil a zip, so a bad one is fetched again before it is believed to be bad."""
        for attempt in range(1, self.settings.attempts + 1):
            layers = self.folder / f"layers-{attempt}"
            layers.mkdir()
            _refuse_full_disk(self.job, self.folder)
            try:
                cloud.download(self.job.cloud_job, self.zip_file, self.settings.limit_bytes)
                return unpack_product(self.zip_file, layers, self.settings)
            except BadProductError as problem:
                log.warning(
                    "%s, download %d of %d: %s", self.job.name, attempt, self.settings.attempts, problem
                )
                shutil.rmtree(layers)
                if attempt == self.settings.attempts:
                    raise
                time.sleep(self.pause_seconds)
        raise AssertionError("settings.attempts is at least 1")

    def _checked(self, name: str, parameters: dict[str, str], layers: dict[str, Path]) -> ClippedProduct:
        """Refuse a product that is not what was ordered, by its name, its parameter file and its rasters."""
        check_name(ProductName.parse(name), self.track, self.job.reference, self.job.secondary)
        check_granules(parameters, dict(self.job.parameters))
        product_attributes(name, parameters, self.store.grid)
        return clip_product(layers, self.store.grid)

    def _accept(self, name: str, parameters: dict[str, str], product: ClippedProduct) -> FetchResult:
        """Write the interferogram's file, then everything about it in one transaction."""
        fetched, store = _fetched(self.job, self.zip_file), self.store
        bridging = self.site.corrections.unwrapping.bridge
        recipe = {"grid": self.track.grid.model_dump(), "recipe": RECIPE}
        config = content_sha256(recipe | ({"bridge": True} if bridging else {}))
        interferogram_id = opaque_id("interferogram", self.job.pair_id, fetched.sha256, config)
        attributes = product_attributes(name, parameters, store.grid)
        # Names of burst products do not tell it, and MintPy's save_hdfeos5 wants it.
        attributes["relative_orbit"] = str(self.track.relative_orbit)
        layers, unwrapping = _layers(product), None
        if bridging:
            bridged = bridge(layers, product.land)
            layers, unwrapping = bridged.layers, {"bridge": bridged.as_json()}
        file_sha256 = store.write_interferogram(interferogram_id, layers, attributes)
        store.write_geometry(_geometry(product), attributes)
        reason = self._why_excluded(product.mean_coherence)
        made = MadeInterferogram(
            id=interferogram_id,
            config_sha256=config,
            path=str(store.interferogram_path(interferogram_id).relative_to(self.data_folder)),
            file_sha256=file_sha256,
            mean_coherence=product.mean_coherence,
            valid_fraction=product.valid_fraction,
            perpendicular_baseline_m=_baseline_m(parameters["Baseline"], self.job.perpendicular_baseline_m),
            state="excluded" if reason else "accepted",
            reason=reason,
            unwrapping=unwrapping,
        )
        state, reason = self.ledger.products.accept(fetched, made, self.as_of)
        return FetchResult(self.job.name, _dates(self.job), state, interferogram_id, reason)

    def _why_excluded(self, mean_coherence: float) -> str | None:
        least = self.site.coherence.least_mean
        return f"mean coherence {mean_coherence:.3f} is below {least:g}" if mean_coherence < least else None

    def _quarantine(self, reason: str) -> FetchResult:
        """Keep a bad product where nothing will use it, and tell the operators."""
        job, track = self.job, self.track
        self.zip_file.touch()
        fetched = _fetched(job, self.zip_file)
        kept = self.store.folder / "quarantine" / f"{fetched.sha256}.zip"
        kept.parent.mkdir(parents=True, exist_ok=True)
        self.zip_file.replace(kept)
        kept_at = str(kept.relative_to(self.data_folder))
        self.ledger.products.quarantine(fetched, reason, kept_at, self.as_of)
        self.ledger.operations.record(
            kind="product_quarantined",
            text=f"{track.id}: the product of {_dates(job)} ({job.file_name}) is in quarantine: {reason}",
            dedupe_key=f"product_quarantined:{job.name}:{fetched.sha256}",
            as_of=self.as_of,
            severity="warning",
            site=self.site.name,
            track_id=track.id,
            details={"job": job.name, "attempt": job.attempt, "kept_at": kept_at},
        )
        return FetchResult(job.name, _dates(job), "quarantined", reason=reason)


def _refuse_full_disk(job: JobRecord, folder: Path) -> None:
    # The zip, its rasters, and the interferogram, each about as large.
    needed = 3 * (job.file_bytes or 0) + RESERVE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TryAgainError(
            f"the disk of {folder} has {free >> 20} MB free, {needed >> 20} MB are needed: make room"
        )


def _layers(product: ClippedProduct) -> Layers:
    layers = product.layers
    return Layers.from_product(layers["unw_phase"], layers["corr"], layers.get("conncomp"))


def _geometry(product: ClippedProduct) -> Geometry:
    layers = product.layers
    water_mask = product.land.astype(np.uint8) if "water_mask" in layers else None
    return Geometry.from_product(layers["dem"], layers["lv_theta"], layers["lv_phi"], water_mask)


def _baseline_m(text: str, from_catalogue_m: float | None) -> float | None:
    """HyP3 writes ``nan`` now and then; the catalogue's baseline is good to a few metres."""
    try:
        baseline_m = float(text)
    except ValueError:
        return from_catalogue_m
    return baseline_m if math.isfinite(baseline_m) else from_catalogue_m


def _fetched(job: JobRecord, zip_file: Path) -> FetchedProduct:
    with zip_file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FetchedProduct(digest, job.name, job.pair_id, job.file_name or "", zip_file.stat().st_size)


def _dates(job: JobRecord) -> str:
    return f"{job.reference} to {job.secondary}"


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for one fetch; what a killed fetch of the same job left in it is cleared away.

    Raises
    ------
    TryAgainError
        Another process is fetching the same product at this moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(f"another process is fetching {folder.name}") from None
        for leftover in folder.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)

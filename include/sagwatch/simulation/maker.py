"""The workshop behind the order desk: turns stored orders into products, in the background.

An order stays unfinished in the state until its result is safely on disk; a server that was killed takes up all
unfinished orders when it starts again. The same order always gives the same bytes.
"""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from .state import JobRow, State
from .world import JobFailedError, Made, Order, World

log = logging.getLogger(__name__)
WORKERS = 2


class Maker:
    """Makes products with a few threads; `order` returns at once."""

    def __init__(self, world: World, state: State, folder: Path) -> None:
        self._world, self._state, self._folder = world, state, folder
        self._queue: queue.Queue[JobRow | None] = queue.Queue()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"maker-{n}") for n in range(WORKERS)
        ]

    def start(self) -> None:
        for job in self._state.unfinished_jobs():
            self._queue.put(job)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the products in hand; the rest is taken up at the next start."""
        while not self._queue.empty():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=30)

    def order(self, job: JobRow) -> None:
        self._queue.put(job)

    def product(self, job: JobRow) -> Made:
        """The zip of a job, made again if it is not on disk."""
        with self._guard:
            lock = self._locks.setdefault(job.job_id, threading.Lock())
        with lock:
            order = Order(job.job_id, job.job_type, job.parameters, job.requested)
            try:
                return self._world.make(order, self._folder / job.job_id)
            except KeyError as error:
                raise JobFailedError(f"granule {error} is not in the archive") from error

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._finish(job)
            except Exception:
                # One broken order must not end the workshop: the traceback is logged, the job ends FAILED with it.
                log.exception("job %s could not be made", job.job_id)
                self._state.fail_job(job.job_id, "The simulated processor failed; see the server's log.")

    def _finish(self, job: JobRow) -> None:
        try:
            made = self.product(job)
        except JobFailedError as error:
            self._state.fail_job(job.job_id, str(error))
            return
        self._state.finish_job(job.job_id, made.name, made.file.stat().st_size)

"""What the ledger knows about alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Alerts:
    """Reached as `ledger.alerts`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

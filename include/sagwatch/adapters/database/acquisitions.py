"""What the ledger knows about acquisitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Acquisitions:
    """Reached as `ledger.acquisitions`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

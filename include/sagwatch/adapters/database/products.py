"""What the ledger knows about products."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Products:
    """Reached as `ledger.products`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

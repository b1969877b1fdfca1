"""The page, made at its first visit.

Every Airflow process loads the plugin, also each task; building the page there would cost each of them two seconds of
imports.
"""

from __future__ import annotations

from threading import Lock
from typing import Any


class LazyPortal:
    """An ASGI application that builds the real one when somebody asks for it."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    @property
    def app(self) -> Any:
        """The FastAPI application."""
        with self._lock:
            if self._app is None:
                from sagwatch.orchestration.portal import portal

                self._app = portal()
            return self._app

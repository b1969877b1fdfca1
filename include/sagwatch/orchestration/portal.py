"""The page behind Airflow's login and permissions: who may read a site's DAG may see the site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException

from sagwatch.orchestration import wiring
from sagwatch.web.app import create_app
from sagwatch.web.queries import Reader


@dataclass(frozen=True, slots=True)
class AirflowVisitor:
    """A person whom Airflow's auth manager knows."""

    user: Any

    def may_see(self, site: str) -> bool:
        return get_auth_manager().is_authorized_dag(
            method="GET", details=DagDetails(id=f"monitor_{site}"), user=self.user
        )


def visitor(user: GetUserDep) -> AirflowVisitor:
    """401 without a login, 403 for whoever may not read DAGs."""
    if not get_auth_manager().is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "your Airflow role may not see Sagwatch")
    return AirflowVisitor(user)


def portal() -> FastAPI:
    """The application as the plugin registers it; the ledger is asked for at the first question only."""
    return create_app(Reader(wiring.web_database_url), visitor)

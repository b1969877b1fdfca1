"""Registers the Sagwatch page in Airflow's navigation."""

from airflow.plugins_manager import AirflowPlugin

from sagwatch.orchestration.lazy_portal import LazyPortal


class SagwatchPlugin(AirflowPlugin):
    name = "sagwatch"
    fastapi_apps = [{"app": LazyPortal(), "url_prefix": "/sagwatch", "name": "Sagwatch"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Sagwatch",
            "href": "/sagwatch/",
            "destination": "nav",
            "url_route": "sagwatch",
            "nav_top_level": True,
        }
    ]

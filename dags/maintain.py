"""### Look after the house

Every day:

- **sync_sites**: a site whose file is gone is archived, never deleted; one that came back is watched again
- **read_credits**: what HyP3 says is left this month
- **retire_revisions**: folders of superseded revisions are removed, but never what readers see, the newest ones, or
  what an alert was decided on
- **clear_leftovers**: what killed processes left half made
- **heartbeat**: one row a day that says how much is watched, so that silence means something
"""

from sagwatch.orchestration.upkeep import maintain

# Registers the Airflow DAG.
maintain(doc_md=__doc__)

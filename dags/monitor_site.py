"""### Watch one mine

One DAG for every site file. Each run asks the ledger what is missing and does it, so a first fill, a late scene and
the recovery after a crash are the same run:

1. **detect_scenes** asks the catalogue what is new over the track
2. **plan_pairs** says which interferograms the network wants
3. **submit_jobs** orders those at HyP3, each once, within the site's credits
4. **wait_for_jobs** waits for HyP3 without holding a worker
5. **fetch_product**, one for each product: downloads, checks, accepts it or puts it into quarantine
6. **update_stack** solves the time series anew
7. **publish_revision** judges what moves, and shows the new numbers in one transaction
8. **deliver_messages** tells people

*Skipped* means that there was nothing to do. A red **nothing_failed** names what failed; everything else went on, and
the next run picks up the rest by itself.
"""

# Airflow finds DAGs in this file: monitor() registers each.
from sagwatch.adapters.site_files import load_sites
from sagwatch.orchestration.monitor import monitor
from sagwatch.settings import PathSettings

for site in load_sites(PathSettings().sites)[0].values():
    monitor(site, doc_md=__doc__)

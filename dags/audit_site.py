"""### Is the answer still MintPy's?

Every week, for every track of the site: each file of the published revision is read and its hash compared, and
MintPy's own programs solve the same interferograms anew, in a process of their own. What they find is a row in the
ledger (`operation_event`, kind `audit`); a difference beyond the tolerance turns this page red.
"""

from sagwatch.adapters.site_files import load_sites
from sagwatch.orchestration.upkeep import audit
from sagwatch.settings import PathSettings

# Registers one Airflow DAG for each site.
for site in load_sites(PathSettings().sites)[0].values():
    audit(site, doc_md=__doc__)

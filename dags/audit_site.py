"""### Is the answer still MintPy's?

Every week, for every track of the site: each file of the published revision is read and its hash compared, and
MintPy's own programs solve the same interferograms anew, in a process of their own: all pixels, or as many as the site
file says (`audit: {pixels: 2000}`), drawn by chance with a seed that is noted. What they find is a row in the ledger
(view `analyst.audits`, and `python -m sagwatch status`); a difference beyond the tolerance is an error there, and turns
this page red. By hand: `python -m sagwatch audit SITE [--sample N] [--seed N] [--all]`.
"""

from sagwatch.adapters.site_files import load_sites
from sagwatch.orchestration.upkeep import audit
from sagwatch.settings import PathSettings

# Registers one Airflow DAG for each site.
for site in load_sites(PathSettings().sites)[0].values():
    audit(site, doc_md=__doc__)

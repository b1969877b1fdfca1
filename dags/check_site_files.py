"""### Are all site files in order?

This page holds no DAG. A site file that cannot be used shows here as an import error that names the file, the key and
the remedy; the DAGs of all other sites run on.
"""

# Airflow reads this file as it reads every file with DAGs, and shows what it raises.
from sagwatch.adapters.site_files import load_sites
from sagwatch.errors import SiteFileError
from sagwatch.settings import PathSettings

problems = load_sites(PathSettings().sites)[1]
if problems:
    raise SiteFileError("\n".join(str(problem) for problem in problems), file=problems[0].file)

"""`migrate` makes a table of finished work, `status SITE --json` counts it."""

import json
import os
import sys

import psycopg

with psycopg.connect(os.environ["SAGWATCH_DATABASE_URL"]) as connection:
    if sys.argv[1] == "migrate":
        connection.execute("CREATE TABLE IF NOT EXISTS work (run text, task text, attempt int)")
        connection.execute("SELECT postgis_version()")
    else:
        runs = connection.execute("SELECT count(DISTINCT run) FROM work WHERE task = 'publish'").fetchone()[0]
        sys.stdout.write(
            json.dumps({"revision": runs, "interferograms": 3 * runs, "worst_velocity_mm_yr": None})
        )

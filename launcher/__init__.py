"""Sets Sagwatch up on a fresh machine, starts it, rehearses it and stops it.

Run by the system's own Python (`python3 -m launcher run`), so everything here but `databases.py` and
`reconcile.py` uses the standard library only: at the first run there is nothing else.
"""

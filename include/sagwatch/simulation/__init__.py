"""The simulated cloud: one server that speaks the protocols of CMR, HyP3, SMTP and Slack over a simulated ground.

Start it with ``python -m sagwatch.simulation --folder FOLDER --port PORT --smtp-port PORT``, or from Python with
:func:`sagwatch.simulation.running.start`. Nothing else of Sagwatch imports this package: it is reached over the
network.
"""

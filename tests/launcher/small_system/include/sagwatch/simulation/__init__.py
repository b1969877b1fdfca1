"""Stands in for the simulated cloud."""

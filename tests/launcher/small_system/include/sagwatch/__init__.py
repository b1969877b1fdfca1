"""Stands in for the package, in tests of the launcher."""

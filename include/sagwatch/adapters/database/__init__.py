"""The ledger: PostGIS, the memory of everything."""

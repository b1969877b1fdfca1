"""The ledger's SQL: numbered migrations that only go forward, and views and functions for people."""

"""Programs that run in the peers' environments; they know nothing of Sagwatch."""

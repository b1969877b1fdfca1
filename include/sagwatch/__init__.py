"""Sagwatch watches the ground over coal mines sink, and tells the people responsible for safety in time."""

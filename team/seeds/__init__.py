"""Seed folders from data: what is in the data, which task that suggests, the files of it, and whether they work."""

"""Helpers that know nothing of models: checks, masks, groups, precision, padding, steps, random state, files."""

"""Helpers that know nothing of models: checks, masks, groups, padding, steps, random state, files."""

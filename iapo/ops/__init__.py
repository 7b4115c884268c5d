"""Helpers that know nothing of models: masks, groups, padding, token classes, random state."""

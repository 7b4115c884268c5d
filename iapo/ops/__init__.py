"""Helpers on tensors that know nothing of models: masks, groups, padding, token classes."""

"""The packed forward: all prefixes of a completion probed in a few forwards against one key-value cache."""

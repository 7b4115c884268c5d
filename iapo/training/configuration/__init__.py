"""The settings of a run, and how they are read: from flags, files and import paths."""

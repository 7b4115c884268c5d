"""Rows from files: `contents` unpacks and decodes a file, and reads it by its kind, which `endings` says.

Each kind has its file; `class_names` and `narrow_floats` put right what Arrow's tables hold, of the hub too.
"""

from iapo.tasks.reading.class_names import name_classes
from iapo.tasks.reading.contents import check_ending, numbered_rows
from iapo.tasks.reading.endings import SUFFIXES, kind_of
from iapo.tasks.reading.narrow_floats import widen_floats

__all__ = ["SUFFIXES", "check_ending", "kind_of", "name_classes", "numbered_rows", "widen_floats"]

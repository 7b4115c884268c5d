"""Information-aware advantages inside the engines that others train with; `core` is what they share."""

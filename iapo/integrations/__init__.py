"""Information-aware advantages inside the engines that others train with; what they share is `iapo.integrations.core`."""

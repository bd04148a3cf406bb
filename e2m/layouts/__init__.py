"""Image folders and lists as people have them, as plain rows: which label, source, split and subject an image has."""

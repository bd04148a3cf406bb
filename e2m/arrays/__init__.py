"""Images and maps as plain arrays: no torch here."""

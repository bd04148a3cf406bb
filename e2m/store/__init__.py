"""What lies on disk: places, tidy rows and maps, dated studies, provenance, data sets that are built."""

"""Files on disk: paths, tidy rows and maps, dated studies, provenance, data sets that E2M builds."""

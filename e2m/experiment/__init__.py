"""A profile at work: what is trained and explained, the jobs that do it, and the results that they leave."""

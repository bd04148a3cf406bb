"""Audits: which of some groups of detectors deserves trust, by their weights and a folder of images."""

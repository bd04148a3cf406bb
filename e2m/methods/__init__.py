"""Salience methods."""

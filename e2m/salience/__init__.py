"""Salience maps and scores of a detector, clean and after perturbation."""

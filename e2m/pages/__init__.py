"""What the pages of the book compute and show."""

"""What a release consists of besides the code: an archive of the book, and what is known of the packages."""

"""One module for each row or family of rows of the table."""

"""Ways not to forget, one method a file: drop a file in here and its name is known."""

"""The documentation: pages, and `python -m docs.build`, which makes a site of them."""

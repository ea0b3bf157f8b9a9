"""From words to work: what is asked for is read, found, resolved and packed into stacks."""

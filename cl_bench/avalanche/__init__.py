"""Other libraries' benchmarks and strategies on our terms, and our streams on theirs."""

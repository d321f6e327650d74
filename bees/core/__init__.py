"""What every bee shares: the contract, the errors, HTTP and SQL plumbing."""

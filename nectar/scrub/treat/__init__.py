"""What is written in place of a value: nothing, a label, a mask, a pseudonym, a token, something coarser."""

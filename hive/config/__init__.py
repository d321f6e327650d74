"""What the bees are told: one model, loaded from a file or a mapping, with every problem reported at once."""

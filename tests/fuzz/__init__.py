"""`make fuzz`: the guard and the row filters against statements that nobody wrote, with servers as oracles."""

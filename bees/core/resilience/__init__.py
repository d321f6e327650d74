"""What stands between a bee and a source that has enough: pure rules, and the protocols by which a fleet shares them.

    retry     how long to wait before which attempt, and whether there is one
    quota     so many requests in so many seconds, in no window more; handed out in small blocks
    breaker   closed, open, half-open: a source that fails again and again is left alone for a while
    spent     what servers say of their own limits, in the headers of the common APIs

Nothing here knows of a database or a clock of its own. The hive keeps the states in its ledger (hive/limits); the
twins in memory (`MemoryBudget`, `MemoryBreaker`) serve a bee in a bare prompt.
"""

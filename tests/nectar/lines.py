"""What detection would look at without its prefilter."""

from nectar.scrub.find.prefilter import chosen


def every_line(texts, entities, threshold, _lifted=frozenset()):
    """All lines for all recognisers, and whole texts for those that judge them; as `prefilter.look_up` gives them."""
    who = [(i, r.best() >= threshold, r.whole) for i, r in enumerate(chosen(entities))]
    for number, text in enumerate(texts):
        start = 0
        for line in text.split("\n"):
            yield from ((number, start, start + len(line), i, strong) for i, strong, whole in who if line and not whole)
            start += len(line) + 1
        yield from ((number, 0, len(text), i, strong) for i, strong, whole in who if whole)

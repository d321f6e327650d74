"""Honey Combs: ready descriptions of sources, from which a bee is made with a few parameters.

    hive comb create github-issues --name desk-issues -p owner=acme -p repo=desk -p token='${GITHUB_TOKEN}'

A comb says what document 000 has it say (`id`, `name`, `type`, `subtype`, `connection`, `extraction`, `scrubbing`,
`scheduling`, `access_control`) and, under `parameters`, what it leaves open: `{{ param.NAME }}` stands for the value.
What the document calls `collect_from_comb` is a flight of that bee: `hive fly BEE` streams into its jar, `hive fly BEE
--mode snapshot` makes a jar of its own, whose metadata name the comb.
"""

from hive.combs.library import CombLibrary, UnknownComb
from hive.combs.plan import Plan

__all__ = ["CombLibrary", "Plan", "UnknownComb"]

"""Personal data out, before anything readable is stored.

    DataScrubber({"profile_id": "gdpr_compliant"}, keys).process(data)     text, objects, frames, Arrow tables
    detect(["call 202-555-0143"])                                          what stands where

Importing this imports no recogniser: presidio comes with the first detection, or with `warm`.
"""

from nectar.scrub.find.engine import detect, warm
from nectar.scrub.find.findings import Finding
from nectar.scrub.scrubber import DataScrubber, Scrubbed

__all__ = ["DataScrubber", "Finding", "Scrubbed", "detect", "warm"]

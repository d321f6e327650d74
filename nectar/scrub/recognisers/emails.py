"""presidio's recogniser of e-mail addresses, without its look at the network and with what it refuses for its frame."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from nectar.scrub.find.addresses import address_in
from nectar.scrub.recognisers.library import predefined_recognizers as presidio
from nectar.scrub.recognisers.library import tldextract
from nectar.scrub.recognisers.recogniser import Recogniser, direct, wrapped

# Only the list of suffixes that comes with the package: no download, and no cache in a home folder that others filled.
_SUFFIXES = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())


class OfflineEmailRecognizer(presidio.EmailRecognizer):  # type: ignore[misc]
    def validate_result(self, pattern_text: str) -> bool:
        # Behind a plain name nothing but the domain counts, and domains come again and again.
        name, _, domain = pattern_text.rpartition("@")
        return ends_in_suffix("name@" + domain if _PLAIN_NAME.fullmatch(name) else pattern_text)


_PLAIN_NAME = re.compile(r"[\w.+-]+")


@lru_cache(maxsize=4096)
def ends_in_suffix(address: str) -> bool:
    """The address's domain ends in a suffix that registries give out."""
    return bool(_SUFFIXES(address).fqdn)


def email() -> Recogniser:
    """presidio's, and the addresses in what it refuses because a path or a query stands before them."""
    recogniser = OfflineEmailRecognizer(name="EmailRecognizer")
    return replace(wrapped(recogniser, hint="@"), find=direct(recogniser, inside=address_in))

"""Every test here runs both ways: with columns and numpy whatever the size, and with plain Python for few."""

from __future__ import annotations

import pytest

from nectar import canonical, encode, identity
from nectar.batch import FEW
from nectar.scrub.find import prefilter
from nectar.scrub.shapes import columns


@pytest.fixture(autouse=True, scope="module", params=[0, FEW], ids=["columns", "few"])
def few(request):
    with pytest.MonkeyPatch.context() as patch:
        for module in (canonical, encode, identity, columns):
            patch.setattr(module, "FEW", request.param)
        if not request.param:
            patch.setattr(prefilter.few, "CHARACTERS", -1)
        yield

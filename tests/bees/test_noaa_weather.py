"""The connector of the documents' `NOAA_WEATHER`, against a server that answers as the service documents it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bees.noaa_weather import NoaaWeatherBee
from hive.demo.api import running
from tests.bees.contract import BeeContract, Source
from tests.hive.vendors import app, records


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = app("noaa-weather-alerts")
    server.state.world.busy = 0
    with running(server) as url:
        yield url


class TestNoaaWeather(BeeContract):
    connector = "noaa_weather"

    @pytest.fixture
    def source(self, service: str) -> Source:
        return Source(
            options={"base_url": service, "allow_private": True, "area": ["CA", "OR"], "severity": "Severe"},
            stream="alerts",
            keys={alert["id"] for alert in records("noaa-weather-alerts")},
            key_of=lambda row: row["id"],
            unreachable={"base_url": "http://127.0.0.1:9", "allow_private": True},
        )


def test_words_of_the_documents_are_options() -> None:
    bee = NoaaWeatherBee.from_options(
        {"base_url": "https://api.weather.gov", "area": "CA,OR", "severity": "Severe,Extreme"}
    )

    assert '["area", "CA,OR"]' in bee.stream_identity("alerts")
    assert '["severity", "Severe,Extreme"]' in bee.stream_identity("alerts")
    assert [stream.key for stream in bee.get_pollen_schema()] == [("id",)]

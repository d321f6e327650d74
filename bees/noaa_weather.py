"""Active alerts of the United States' National Weather Service, as `NOAA_WEATHER` in other systems' files.

    type: noaa_weather
    source: {area: "CA,OR", severity: "Severe,Extreme"}

https://www.weather.gov/documentation/services-web-api; the comb `noaa-weather-alerts` says the same in YAML.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from bees.core.rest.client import HttpOptions
from bees.core.rest.declared import DeclaredBee

Listed = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: given.split(",") if isinstance(given, str) else given)
]
"""Words, or one text with commas between them."""


class NoaaWeatherOptions(HttpOptions):
    base_url: str = Field("https://api.weather.gov", description="address of the service")
    alerts_path: str = Field("/alerts/active", description="path of the alerts")
    area: Listed = Field((), description="states or marine areas, such as CA,OR; all if unset")
    severity: Listed = Field((), description="of Extreme, Severe, Moderate, Minor, Unknown; all if unset")
    contact: str = Field("worker-bees", description="who asks, as the service wants to know: a name, better an address")


class NoaaWeatherBee(DeclaredBee):
    """Reads the alerts that hold now."""

    bee_type = "api"
    Options = NoaaWeatherOptions

    def declared(self) -> dict[str, Any]:
        given: NoaaWeatherOptions = self.options
        wanted = {"area": ",".join(given.area), "severity": ",".join(given.severity)}
        alerts = {
            "path": given.alerts_path,
            "params": {name: words for name, words in wanted.items() if words},
            "headers": {"Accept": "application/geo+json"},
            "records": "features",
            "key": "id",
            "pagination": {"type": "link", "cursor_path": "pagination.next"},
        }
        headers = {"User-Agent": SecretStr(given.contact), **given.headers}
        return {"base_url": given.base_url, "headers": headers, "streams": {"alerts": alerts}}

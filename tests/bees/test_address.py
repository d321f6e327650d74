from __future__ import annotations

import pytest

from bees.core.address import AddressPolicy
from bees.core.errors import GiveUp


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200",
        "168.63.129.16", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "2001:db8::1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:169.254.169.254", "::ffff:127.0.0.1",
    ],
)  # fmt: skip
def test_these_addresses_are_never_dialled(address: str) -> None:
    policy = AddressPolicy(frozenset({("http", "api.example", 80)}), allow_private=True, resolve=lambda *_: [address])

    with pytest.raises(GiveUp) as error:
        policy.addresses("api.example", 80)

    assert error.value.code == "forbidden_address"


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "127.0.0.1", "::1", "192.168.0.9", "172.20.0.1", "100.64.0.1", "fd12::1", "64:ff9b::a01:203"],
)
def test_private_addresses_need_the_option_and_a_named_host(address: str) -> None:
    named = frozenset({("http", "api.example", 8080)})

    def addresses(host: str, port: int, *, allow: bool) -> list[str]:
        return AddressPolicy(named, allow, lambda *_: ["93.184.215.14", address]).addresses(host, port)

    assert addresses("api.example", 8080, allow=True)[1] == address
    assert addresses("api.example", 443, allow=True)
    for host, port, allow in (("api.example", 8080, False), ("other.example", 8080, True), ("api.example", 6379, True)):
        with pytest.raises(GiveUp) as error:
            addresses(host, port, allow=allow)
        assert error.value.code == "private_address"


def test_a_public_address_is_dialled_without_an_option() -> None:
    policy = AddressPolicy(resolve=lambda *_: ["93.184.215.14", "2606:2800:21f::1"])

    assert policy.addresses("api.example", 443) == ["93.184.215.14", "2606:2800:21f::1"]


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "localhost"])
def test_other_spellings_of_loopback_are_loopback(host: str) -> None:
    with pytest.raises(GiveUp) as error:
        AddressPolicy().addresses(host, 80)

    assert error.value.code == "private_address"

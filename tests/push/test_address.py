"""Addresses are names and nothing else: no option of ssh, no second word, no quote gets through."""

from __future__ import annotations

import pytest

from qdeploy.push.address import Address
from qdeploy.runtime.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "user", "host"),
    [
        ("pi@raspberrypi.local", "pi", "raspberrypi.local"),
        ("raspberrypi", None, "raspberrypi"),
        ("first.last@192.168.1.20", "first.last", "192.168.1.20"),
        ("pi@[fe80::1%eth0]", "pi", "fe80::1%eth0"),
        ("pi@::1", "pi", "::1"),
    ],
)
def test_addresses(text, user, host):
    assert Address.parse(text) == Address(host, user)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "pi@",
        "@host",
        "-oProxyCommand=touch x",
        "pi@-oProxyCommand=touch",
        "-l@host",
        "pi@host name",
        " pi@host",
        "pi@host;reboot",
        "pi@$(reboot)",
        "pi@`reboot`",
        "pi@ho'st",
        'pi@ho"st',
        "p i@host",
        "pi@host\n",
        "pi@host:22",
        "pi@host/path",
        "ssh://pi@host",
        "pi@[-oProxyCommand=x]",
        "pi@[::1%a;b]",
        "a@b@c d",
        "pi@höst",
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(InvalidInputError, match="expected"):
        Address.parse(text)


def test_a_host_can_name_a_file():
    assert Address.parse("pi@[fe80::1%eth0]").file_name == "fe80__1_eth0"

"""Whom a box may call: patterns, what stands for a host, and what rules say of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import GateRule, Match, Rules, Verdict
from pandar_daemon.domain.addresses import Kind, kind_of
from pandar_daemon.domain.egress import (
    Host,
    called,
    fault_of,
    host_of,
    pattern_of,
    patterns_of,
    proxy_variables,
)
from pandar_daemon.domain.judging import judge
from pandar_daemon.domain.reach import call_of, opens, reach

FITS = """
api.test           api.test:443          yes
api.test           api.test:80           yes
api.test           api.test:8443         no
api.test           x.api.test:443        no
api.test           xapi.test:443         no
API.Test.          api.test:443          yes
api.test           API.TEST.:443         yes
api.test:8443      api.test:8443         yes
api.test:8443      api.test:443          no
*.api.test         x.api.test:443        yes
*.api.test         x.y.api.test:443      yes
*.api.test         api.test:443          no
*.api.test         xapi.test:443         no
*.api.test:8443    x.api.test:8443       yes
*.example.com      a.example.com.:80     yes
bücher.test        xn--bcher-kva.test:80 yes
BÜCHER.test        xn--bcher-kva.test:80 yes
203.0.113.5        203.0.113.5:80        yes
203.0.113.5        203.0.113.50:80       no
[2001:db8::1]      [2001:DB8:0::1]:443   yes
2001:db8::1        [2001:db8::1]:443     yes
[2001:db8::1]:8443 [2001:db8::1]:8443    yes
[2001:db8::1]:8443 [2001:db8::1]:443     no
[::ffff:10.0.0.1]  10.0.0.1:80           yes
localhost:4873     localhost:4873        yes
_dmarc.api.test    _dmarc.api.test:80    yes
"""

NO_PATTERNS = [
    *("", "*", "*.", ".", "*.com", "*.co.uk", "*.org.br", "*.10", "*.0.0.1", "*.[::1]", "a*b.test"),
    *("api.*.test", "http://api.test", "api.test/x", "api.test:", "api.test:0", "api.test:65536"),
    *("api.test:http", "user@api.test", "api test", " api.test", "api.test\n", "api..test"),
    *("-api.test", "api-.test", "x" * 64 + ".test", "x." * 127 + "test", "127.1", "0x7f.1", "1"),
    *("0177.0.0.1", "2130706433", "[::1", "::1]", "[fe80::1%eth0]", "fe80::1%1", "[1.2.3.4]"),
    *("straße.test", "api.test\0", "a\u200db.test", "*.*.test", "**.test", "[::1]x", "[::1]:x"),
]

NO_HOSTS = [
    *(
        "",
        ":80",
        ".",
        "..",
        "a..b",
        "user@api.test",
        "user:word@api.test",
        "@api.test",
        "api.test@",
    ),
    *(
        "127.1",
        "127.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "017700000001",
        "2130706433",
        "0",
        "1.2.3.4.5",
    ),
    *("0177.0.0.1", "127.0.0.01", "127.0.0.1.0x", "256.1.1.1", "api.0x10", "a.5", "①.①.①.①"),
    *("[::1", "::1]", "[]", "[::1%lo]", "[::1%25lo]", "[v1.x]", "[127.0.0.1]", "[::1]80", "[::g]"),
    *("api.test:x", "api.test:", "api.test:-1", "api.test:+80", "api.test: 80", "api.test:0x50"),
    *(
        "api.test:0",
        "api.test:65536",
        "api.test:000080",
        "api.test:80:80",
        "api.test/",
        "a b",
        "a\tb",
    ),
    *("api.test\0", "api.test\0.evil.test", "api.test%00", "api.test%2eevil", "api.test\\evil"),
    *("api.test?x", "api.test#x", "b\xfccher.test", "x" * 254, "x" * 64, "api.test\r\nX: y"),
]


@pytest.mark.parametrize("line", FITS.strip().splitlines())
def test_a_pattern_is_about_hosts(line: str) -> None:
    """However these are written."""
    pattern, target, fits = line.split()
    assert pattern_of(pattern).fits(called(target)) is (fits == "yes")


@pytest.mark.parametrize("text", NO_PATTERNS)
def test_what_is_no_pattern(text: str) -> None:
    """It says why; read from an old event it allows nobody."""
    assert fault_of(text)
    assert patterns_of([text, "api.test"]) == (pattern_of("api.test"),)


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_is_no_host(text: str) -> None:
    """What one program reads as a host and another as something else is none."""
    with pytest.raises(ValueError, match=r"."):
        called(text, 80)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("API.Test", Host("api.test", 80)),
        ("api.test.:0443", Host("api.test", 443)),
        ("127.0.0.1", Host("127.0.0.1", 80)),
        ("[::FFFF:127.0.0.1]:81", Host("127.0.0.1", 81)),
        ("[0:0:0:0:0:0:0:1]", Host("::1", 80)),
        ("a.5g", Host("a.5g", 80)),
        ("x" * 63, Host("x" * 63, 80)),
    ],
)
def test_a_host_has_one_form(text: str, host: Host) -> None:
    """Whatever form it came in; and that one stays as it is."""
    assert called(text, 80) == host
    assert called(str(host)) == host


def test_a_tunnel_names_its_port() -> None:
    """There is none to assume."""
    with pytest.raises(ValueError, match="port"):
        called("api.test")


@given(st.text(max_size=300))
def test_nothing_else_happens(text: str) -> None:
    """Any text is a host, in one form that is its own, or none."""
    try:
        host = host_of(text)
    except ValueError:
        return
    assert host_of(host) == host
    assert host.isascii()
    assert fault_of(host) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", Kind.PUBLIC),
        ("2606:4700::1111", Kind.PUBLIC),
        ("64:ff9b::808:808", Kind.PUBLIC),
        ("127.8.8.8", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("::127.0.0.1", Kind.LOOPBACK),
        ("64:ff9b::7f00:1", Kind.LOOPBACK),
        ("2002:7f00:1::", Kind.LOOPBACK),
        ("172.31.255.255", Kind.PRIVATE),
        ("fd12::1", Kind.PRIVATE),
        ("100.127.255.255", Kind.PRIVATE),
        ("169.254.169.254", Kind.METADATA),
        ("::ffff:169.254.169.254", Kind.METADATA),
        ("168.63.129.16", Kind.METADATA),
        ("100.100.100.200", Kind.METADATA),
        ("fd00:ec2::254", Kind.METADATA),
        ("fe80::1%eth0", Kind.LINK_LOCAL),
        ("0.0.0.0", Kind.UNSPECIFIED),  # noqa: S104 - it is refused
        ("::", Kind.UNSPECIFIED),
        ("ff02::1", Kind.MULTICAST),
        ("255.255.255.255", Kind.RESERVED),
        ("192.0.2.1", Kind.RESERVED),
        ("::ffff:8.8.8.8", Kind.RESERVED),
        ("64:ff9b:1::1", Kind.RESERVED),
        ("localhost", Kind.NONE),
    ],
)
def test_what_an_address_is(address: str, kind: Kind) -> None:
    """By the worst of all it can stand for."""
    assert kind_of(address) is kind


HOST = Host("api.test", 443)
OWN = GateRule(name="production", match=Match(hosts=["*.test"]))
NEVER = GateRule(name="never", match=Match(hosts=["api.test:443"]))
ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY


@pytest.mark.parametrize(
    ("rules", "listed", "other"),
    [
        (Rules(policy="auto"), ALLOW, DENY),
        (Rules(policy="auto", gates=["network_egress"]), ALLOW, DENY),
        (Rules(policy="manual"), ALLOW, ASK),
        (Rules(), ALLOW, ASK),
        (Rules(gates=["network_egress"]), ALLOW, ASK),
        (Rules(gates=["budget"]), ALLOW, DENY),
        (Rules(own=[OWN]), ASK, ASK),
        (Rules(own=[OWN], gates=["budget"]), ALLOW, DENY),
        (Rules(own=[OWN], gates=["production"]), ASK, DENY),
        (Rules(own=[OWN], policy="auto"), ALLOW, DENY),
        (Rules(denied=[NEVER]), DENY, DENY),
        (Rules(denied=[NEVER], policy="auto"), DENY, DENY),
    ],
)
def test_what_rules_say_of_a_host(rules: Rules, listed: Verdict, other: Verdict) -> None:
    """The list opens, the gate asks, a gate of the owner's stops, and what is never done is not."""
    assert reach(HOST, rules, listed=True) is listed
    assert reach(HOST, rules, listed=False) is other
    assert opens(rules) is (reach(Host("x.org", 1), rules, listed=False) is ASK)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "api.localhost", "x.org"])
def test_outside_of_a_box_nobody_is_local(host: str) -> None:
    """This machine's own loopback is asked about at the proxy as any other host."""
    judged = judge(call_of(Host(host, 4873)), Rules(), (), "/", "/")
    assert (judged.verdict, judged.gates) == (ASK, ["network_egress"])


def test_one_host_is_asked_for() -> None:
    """A host and port as a URL has them; another port is another question."""
    assert call_of(HOST).hosts == ["api.test:443"]
    assert call_of(Host("2001:db8::1", 80)).hosts == ["[2001:db8::1]:80"]
    assert call_of(HOST).sha256 != call_of(Host("api.test", 80)).sha256


def test_programs_are_told_of_the_proxy() -> None:
    """In all the names they look under; what the box serves itself is called directly."""
    told = proxy_variables("http://127.0.0.1:3128")
    for name in ("http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        assert told[name] == "http://127.0.0.1:3128"
    assert told["NO_PROXY"] == told["no_proxy"] == "127.0.0.1,localhost,::1"
    assert told["NODE_USE_ENV_PROXY"] == "1"

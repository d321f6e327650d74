"""Secrets: what opens something goes, what only talks about secrets stays."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pytest

from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber, detect
from nectar.scrub.find import entities as e

LETTERS = "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zC0fG"
HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
BODY = "\n".join(["MIIEpAIBAAKCAQEA" + LETTERS] * 3)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"
OPENSSH = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----"
PGP = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{BODY}\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----"
PUBLIC = f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----"


def jwt(head, parts=2):
    first = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()
    return ".".join([first, *["eyJzdWIiOiIxIn0"] * parts])


def found(text, entity, **given):
    (findings,) = detect([text], [entity], **given)
    return [text[finding.start : finding.end] for finding in findings]


def of(*parts):
    """Joined here, so that no scanner of this repository takes an example for a key."""
    return "".join(parts)


KEYS = [
    of("AI", "zaSyA", LETTERS[:30], "-_"), of("gh", "p_", LETTERS, "abcd"), of("github_", "pat_", LETTERS),
    of("gl", "pat-", LETTERS[:20]), of("xo", "xb-123456789012-", LETTERS), of("sk_", "live_", LETTERS),
    of("rk_", "test_", LETTERS), of("wh", "sec_", LETTERS), of("sk", "-proj-", LETTERS),
    of("sk", "-ant-api03-", LETTERS), of("h", "f_", LETTERS, "abcd"),
    of("S", "G.", LETTERS[:22], ".", LETTERS, LETTERS[:11]), of("S", "K", HEX), of("key", "-", HEX),
    of(HEX, "-us", "12"), of("np", "m_", LETTERS, "abcd"), of("py", "pi-AgE", LETTERS * 2),
    of("dckr_", "pat_", LETTERS), of("do", "p_v1_", HEX * 2), of("shp", "at_", HEX),
    of("123456789:", "AA", LETTERS, "a"), of("da", "pi", HEX), of("hv", "s.", LETTERS), of("gl", "sa_", LETTERS),
    of("NR", "AK-", HEX[:27].upper()), of("ya", "29.", LETTERS), of("GOC", "SPX-", LETTERS[:28]),
    of("lin_", "api_", LETTERS), of("nt", "n_", LETTERS, LETTERS[:8]),
    of("AGE-SECRET", "-KEY-1", HEX[:29].upper() * 2), of("xa", "pp-1-", LETTERS),
    of("PM", "AK-", HEX[:24], "-", HEX + "ab"),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:5])
def test_keys_of_services_are_found_wherever_they_stand(key):
    for text in (key, f"the key is {key}.", f'{{"k":"{key}"}}', f"x={key}&y=1", f"größe {key}"):
        assert key in found(text, "API_KEY")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:5])
def test_half_a_key_and_a_name_that_begins_so_are_none(key):
    assert found(key[:9], "API_KEY") == []
    assert found(key[: key.find(key[-4:])][:6] + "...", "API_KEY") == []


@pytest.mark.parametrize(
    ("entity", "text", "span"),
    [
        ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_ACCESS_KEY", "id=ASIAIOSFODNN7EXAMPLE,", "ASIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_KEY", f"aws_secret_access_key = {LETTERS}/abc+DE1", f"{LETTERS}/abc+DE1"),
        ("AWS_SECRET_KEY", f'"SecretAccessKey": "{LETTERS}/abc+DE1"', f"{LETTERS}/abc+DE1"),
        ("API_KEY", f"api_key={LETTERS}", LETTERS),
        ("API_KEY", f'"clientSecret": "{LETTERS}"', LETTERS),
        ("API_KEY", f"X-Api-Key: {LETTERS}", LETTERS),
        ("API_KEY", f"refresh token: {LETTERS}, valid for a day", LETTERS),
        ("API_KEY", f"--access-token {LETTERS}", LETTERS),
        ("API_KEY", f"DefaultEndpointsProtocol=https;AccountKey={LETTERS}{LETTERS}==;x=1", f"{LETTERS}{LETTERS}=="),
        ("API_KEY", "api_key: 123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("BEARER_TOKEN", f"Authorization: Bearer {LETTERS}", LETTERS),
        ("BEARER_TOKEN", "authorization: Basic Ym9iOnB3", "Ym9iOnB3"),
        ("BEARER_TOKEN", f"curl -H 'Bearer {LETTERS}'", LETTERS),
        ("CREDENTIAL_URI", "postgresql://bob:pw1@db:5432/a", "postgresql://bob:pw1@db:5432/a"),
        ("CREDENTIAL_URI", "see mongodb+srv://bob:p%40w@x.net/a?w=1 now", "mongodb+srv://bob:p%40w@x.net/a?w=1"),
        ("CREDENTIAL_URI", "redis://:pw1@cache", "redis://:pw1@cache"),
        ("CREDENTIAL_URI", "'https://bob:pw1@example.com/x'", "https://bob:pw1@example.com/x"),
        ("CREDENTIAL_URI", "amqp://a:p@ss1@q:5672", "amqp://a:p@ss1@q:5672"),
        ("PASSWORD", "password: hunter2", "hunter2"),
        ("PASSWORD", "the password is Tr0ub4dor&3!", "Tr0ub4dor&3!"),
        ("PASSWORD", '{"password": "correct horse"}', "correct horse"),
        ("PASSWORD", "DB_PASSWORD=letmein", "letmein"),
        ("PASSWORD", "Server=db;User Id=sa;Password=Pa55;Database=x", "Pa55"),
        ("PASSWORD", "host=db user=bob password=swordfish", "swordfish"),
        ("PASSWORD", "<password>swordfish</password>", "swordfish"),
        ("PASSWORD", "mysql --password=swordfish", "swordfish"),
        ("PASSWORD", "Passwort: geheim12", "geheim12"),
        ("PASSWORD", "Contraseña: secreto9", "secreto9"),
        ("PRIVATE_KEY", f"key:\n{PEM}\nend", PEM),
        ("PRIVATE_KEY", f"Schlüssel:\n{OPENSSH}\nend", OPENSSH),
        ("PRIVATE_KEY", PGP, PGP),
        ("PRIVATE_KEY", json.dumps(PEM), json.dumps(PEM)[1:-1]),
        ("PRIVATE_KEY", f"{PEM}\n{PUBLIC}", PEM),
        ("JWT", f"token {jwt({'alg': 'HS256', 'typ': 'JWT'})}.", jwt({"alg": "HS256", "typ": "JWT"})),
        ("JWT", jwt({"alg": "RSA-OAEP", "enc": "A256GCM"}, 4), jwt({"alg": "RSA-OAEP", "enc": "A256GCM"}, 4)),
    ],
)  # fmt: skip
def test_secrets_are_found_to_their_end(entity, text, span):
    assert found(text, entity) == [span]


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPL"),
        ("AWS_ACCESS_KEY", "SLAKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_KEY", "secret: 9f8e7d6c5b4a392817069f8e7d6c5b4a39281706"),  # a hash: no capitals
        ("AWS_SECRET_KEY", f"commit {LETTERS}/abc+DE1"),
        ("API_KEY", "api_key = os.environ['API_KEY_OF_2024']"),
        ("API_KEY", "api_key: your_api_key_here_123"),
        ("API_KEY", "token: aaaaaaaaaaaaaaaa1"),
        ("API_KEY", "secret: the-quick-brown-fox-jumps"),
        ("API_KEY", "private_key: /etc/ssl/private/host2.pem"),
        ("API_KEY", "next_page_token: CAUQAA9xYz0123456789"),
        ("API_KEY", "token: https://example.com/a1b2c3d4"),
        ("BEARER_TOKEN", "bearer responsibilities of the office"),
        ("BEARER_TOKEN", "Authorization: Bearer ${TOKEN}"),
        ("BEARER_TOKEN", "Authorization: Bearer ********"),
        ("CREDENTIAL_URI", "http://example.com:8080/a@b"),
        ("CREDENTIAL_URI", "https://bob@example.com/"),
        ("CREDENTIAL_URI", "postgresql://bob:${PASSWORD}@db/a"),
        ("CREDENTIAL_URI", "postgresql://bob:****@db/a"),
        ("PASSWORD", "the password is incorrect"),
        ("PASSWORD", "password: required"),
        ("PASSWORD", "password = getpass()"),
        ("PASSWORD", "password=config.password"),
        ("PASSWORD", "password: ********"),
        ("PASSWORD", "Your password, please: click here"),
        ("PASSWORD", 'password: str = ""'),
        ("PASSWORD", "def connect(user=None, password=None):"),
        ("PASSWORD", "compass=northwest"),
        ("PRIVATE_KEY", PUBLIC),
        ("PRIVATE_KEY", "-----BEGIN CERTIFICATE-----\nMIIEpAIB\n-----END CERTIFICATE-----"),
        ("JWT", jwt({"typ": "JWT"})),
        ("JWT", "eyJub3QganNvbiBhdCBhbGw.eyJzdWIiOiIxIn0.abc"),
    ],
)
def test_what_only_looks_like_a_secret_stays(entity, text):
    assert found(text, entity) == []


def test_a_key_without_its_end_goes_as_far_as_it_goes():
    text = f"saved:\n{PEM[:120]}\nand then the disk was full"

    assert found(text, "PRIVATE_KEY") == [PEM[:120]]


def test_every_key_of_a_file_is_found():
    text = f"{PEM}\n\nsecond\n{OPENSSH}"

    assert found(text, "PRIVATE_KEY") == [PEM, OPENSSH]


@pytest.mark.parametrize(
    ("field", "value", "entity", "hit"),
    [
        ("password", "hunter", "PASSWORD", True),
        ("user.passwordHash", "5f4dcc3b5aa765d61d8327deb882cf99", "PASSWORD", True),
        ("password", "correct horse battery staple", "PASSWORD", True),
        ("password", "********", "PASSWORD", False),
        ("password_updated_at", "2024-01-02", "PASSWORD", False),
        ("note", "hunter", "PASSWORD", False),
        ("api_key", "12345678abc", "API_KEY", True),
        ("clientSecret", "abc12345", "API_KEY", True),
        ("token_count", "12345678", "API_KEY", False),
        ("keyboard", "12345678abc", "API_KEY", False),
        ("aws_secret", f"{LETTERS}/abc+DE1", "AWS_SECRET_KEY", True),
        ("aws_region", "eu-central-1", "AWS_SECRET_KEY", False),
    ],
)
def test_a_fields_name_makes_a_secret_of_its_value(field, value, entity, hit):
    assert found(value, entity, context=[field]) == ([value] if hit else [])


def test_a_profile_takes_all_secrets_out():
    profile = {"pii_detection": ["secrets"], "actions": {"secrets": "remove"}}
    scrubber = DataScrubber({"profile": "own", "profiles": {"own": profile}}, InMemoryKeys())
    text = f"connect postgresql://bob:pw1@db/a with {KEYS[1]}, password: hunter2\n{PEM}\nbye"

    assert scrubber.process(text) == "connect  with , password: \n\nbye"
    assert scrubber.process({"password": "swordfish", "note": "plain"}) == {"password": None, "note": "plain"}
    table = pa.table({"password": ["swordfish", "hunter2"], "note": ["plain", f"Bearer {LETTERS}"]})
    assert scrubber.process(table).to_pylist() == [
        {"password": None, "note": "plain"}, {"password": None, "note": "Bearer "},
    ]  # fmt: skip


def test_what_replaced_a_secret_is_no_secret_any_more():
    profile = {"pii_detection": ["secrets"], "actions": {"secrets": "replace"}}
    scrubber = DataScrubber({"profile": "own", "profiles": {"own": profile}}, InMemoryKeys())
    text = f"postgresql://bob:pw1@db/a password=letmein api_key={LETTERS} Authorization: Bearer {LETTERS}\n{PEM}"
    once = scrubber.process(text)

    assert "letmein" not in once
    assert detect([once], e.SECRETS) == [[]]


def test_long_lines_of_base64_take_little_time():
    text = ("QUJD" * 250_000) + " password " * 1000

    assert detect([text], e.SECRETS) == [[]]

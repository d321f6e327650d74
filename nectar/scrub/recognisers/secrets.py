r"""Secrets: keys, tokens, passwords, and addresses that hold one.

Keys of a service have a form that its maker publishes. Everything else is believed by the word before it
(`password=`, `client_secret:`), where the value looks like a secret: no placeholder, no code, letters and digits mixed.
Only the value is the finding, `\K` in a pattern leaves the word before it out.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from typing import ClassVar
from urllib.parse import urlsplit

import regex

from nectar.scrub.find import entities as e
from nectar.scrub.recognisers.library import Pattern, PatternRecognizer

_CASE = regex.M | regex.S
_ANY_CASE = _CASE | regex.I

_SIGN = r"\s{0,3}(?:=>|:=|[:=])\s{0,3}"
_SAID = r"(?:[\"'\])]{0,2}\s{0,3}(?::=|=>|:)\s{0,3}|\s{1,3}=\s{0,3}|=\s{1,3}|\s{1,3}is:?\s{1,3}|\s{1,3})"
_QUOTED = r"""(?P<quote>["'`])\K(?:(?!(?P=quote))[^\n]){%s}(?=(?P=quote))"""
_WORD = r"(?:pass(?:word|wd|phrase|wort|code)|pwd|kennwort|contrase[nñ]a)[\w.-]{0,20}"
_KEY = (
    r"(?:(?:api|access|secret|private|signing|encryption|auth|account|shared|client|app|consumer|service|license|master"
    r"|webhook|subscription|deploy)[ _.-]?(?:access[ _.-]?)?key"
    r"|(?<!page[ _.-]?)(?<!next[ _.-]?)(?<!sync[ _.-]?)token|secret|credentials?)[\w.-]{0,20}"
)


class SecretRecognizer(PatternRecognizer):  # type: ignore[misc]
    """A recogniser with what the prefilter looks for in its place.

    FORMS   looser than the patterns and quick to look for
    WHOLE   a finding may reach over several lines
    """

    ENTITY: ClassVar[str]
    FLAGS: ClassVar[int] = _CASE
    PATTERNS: ClassVar[tuple[Pattern, ...]]
    FORMS: ClassVar[tuple[str, ...]] = ()
    WHOLE: ClassVar[bool] = False

    def __init__(self) -> None:
        name = type(self).__name__
        super().__init__(
            supported_entity=self.ENTITY, patterns=list(self.PATTERNS), name=name, global_regex_flags=self.FLAGS
        )


class CredentialUriRecognizer(SecretRecognizer):
    """An address with a password in it (RFC 3986, 3.2.1): of a web page, a database, a queue."""

    ENTITY = e.CREDENTIAL_URI
    FLAGS = _ANY_CASE
    PATTERNS = (
        Pattern(
            "user and password",
            r"""(?<![\w+.-])[a-z][a-z0-9+.-]{1,30}://[^\s:/?#@"'<>]{0,256}:[^\s/?"'<>]{1,512}@[^\s"'<>`]{1,2048}""",
            0.8,
        ),
    )
    FORMS = (r"[a-z0-9]://[^\s:/?#@\x22'<>]*:[^\s/?\x22'<>]+@",)

    def validate_result(self, pattern_text: str) -> bool | None:
        try:
            password = urlsplit(pattern_text).password
        except ValueError:
            return None
        return True if password else None

    def invalidate_result(self, pattern_text: str) -> bool:
        told = pattern_text.partition("://")[2].rpartition("@")[0].partition(":")[2]
        return _is_placeholder(told)


class PrivateKeyRecognizer(SecretRecognizer):
    """Private keys in PEM (RFC 7468), of OpenSSH, PGP (RFC 4880, 6.2) and PuTTY. Also where the end is cut off."""

    ENTITY = e.PRIVATE_KEY
    WHOLE = True
    PATTERNS = (
        Pattern(
            "whole",
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----BEGIN)[\s\S]){0,50000}?"
            r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
            0.9,
        ),
        Pattern(
            "without an end",
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:\s|\\[rn]|[>|#*]){0,40}(?:[A-Za-z0-9-]{1,30}: [^\n\\]{0,200}|[A-Za-z0-9+/=]{8,}))*",
            0.8,
        ),
        Pattern("PuTTY", r"Private-Lines: \d{1,3}(?:\s{1,4}[A-Za-z0-9+/=]{4,80})+", 0.8),
    )
    FORMS = (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", r"Private-Lines: \d")


class JwtRecognizer(SecretRecognizer):
    """JSON web tokens (RFC 7519): signed in three parts, encrypted in five. The head must be JSON with an `alg`."""

    ENTITY = e.JWT
    PATTERNS = (Pattern("compact", r"(?<![\w-])ey[\w-]{10,}\.[\w-]+\.[\w-]*(?:\.[\w-]*\.[\w-]*)?", 0.7),)
    FORMS = (r"\bey[A-Z0-9_\-]{10}[A-Z0-9_\-]*\.[A-Z0-9_\-]",)

    def validate_result(self, pattern_text: str) -> bool:
        head = pattern_text.partition(".")[0]
        try:
            said = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        except (binascii.Error, ValueError, RecursionError):
            return False
        return isinstance(said, dict) and "alg" in said


class AwsAccessKeyRecognizer(SecretRecognizer):
    """Ids of AWS keys: a prefix for their kind, sixteen characters of base 32."""

    ENTITY = e.AWS_ACCESS_KEY
    PATTERNS = (Pattern("id", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])", 0.8),)
    FORMS = (r"A(?:K|S|B)IA[A-Z2-7]{16}", r"ACCA[A-Z2-7]{16}")


class AwsSecretKeyRecognizer(SecretRecognizer):
    """Secret AWS keys: forty characters of base 64 behind the word."""

    ENTITY = e.AWS_SECRET_KEY
    FLAGS = _CASE
    PATTERNS = (
        Pattern(
            "assigned",
            r"(?i:aws|secret)[\w .-]{0,40}[\"'\])]{0,2}" + _SIGN + r"[\"']?\K[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
            0.7,
        ),
    )
    FORMS: ClassVar[tuple[str, ...]] = (r"(?:aws|secret)[\w .\-]{0,40}[\x22'\])]{0,2}\s{0,3}[:=]",)

    def invalidate_result(self, pattern_text: str) -> bool:
        return not (_has_mixed_case(pattern_text) and _has_digit(pattern_text))


class WholeAwsSecretKeyRecognizer(AwsSecretKeyRecognizer):
    """The same as the whole value of a field of that name."""

    PATTERNS = (Pattern("whole value (weak)", r"^[A-Za-z0-9/+]{40}$", 0.05),)
    FORMS = ()


_PREFIXED = {
    "Google": r"AIza[\w-]{35}(?![\w-])",
    "Google OAuth": r"GOCSPX-[\w-]{28}(?![\w-])",
    "Google access": r"ya29\.[\w-]{20,}",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{36,255}(?![A-Za-z0-9])",
    "GitHub, fine-grained": r"github_pat_[A-Za-z0-9_]{22,255}",
    "GitLab": r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[\w.-]{20,}(?<![.-])",
    "Slack": r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}",
    "Slack app": r"xapp-\d-[A-Za-z0-9-]{10,}",
    "Slack webhook": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}",
    "Stripe": r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    "Stripe webhook": r"whsec_[A-Za-z0-9+/=]{24,}",
    "OpenAI": r"sk-(?:proj-|svcacct-|admin-|None-)?(?=[\w-]*\d)[A-Za-z0-9][\w-]{30,}",
    "Anthropic": r"sk-ant-[\w-]{20,}",
    "Hugging Face": r"hf_[A-Za-z0-9]{34,}",
    "SendGrid": r"SG\.[\w-]{16,32}\.[\w-]{16,64}",
    "Twilio": r"SK[0-9a-f]{32}(?![\w-])",
    "Mailgun": r"key-[0-9a-f]{32}(?![\w-])",
    "Mailchimp": r"[0-9a-f]{32}-us\d{1,2}(?![\w-])",
    "npm": r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])",
    "PyPI": r"pypi-AgE[\w-]{50,}",
    "Docker": r"dckr_(?:pat|oat)_[\w-]{20,}",
    "DigitalOcean": r"do[opr]_v1_[a-f0-9]{64}",
    "Shopify": r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "Square": r"(?:sq0(?:atp|csp|idp)-[\w-]{22,43}|EAAA[\w-]{60})",
    "Telegram": r"\d{8,10}:AA[\w-]{33}(?![\w-])",
    "Databricks": r"dapi[a-f0-9]{32}",
    "Vault": r"hv[sb]\.[\w-]{24,}",
    "Terraform": r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}",
    "Grafana": r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}",
    "New Relic": r"NRAK-[A-Z0-9]{27}",
    "Postman": r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    "Atlassian": r"ATATT3[\w=-]{60,}",
    "Linear": r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    "Notion": r"ntn_[A-Za-z0-9]{40,}",
    "Cloudinary": r"cloudinary://\d{10,}:[\w-]{20,}@[\w-]+",
    "Azure storage": r"(?:AccountKey|SharedAccessKey)=\K[A-Za-z0-9+/]{40,100}={0,2}",
    "age": r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
}
"""Keys of services by their published form (https://docs.github.com/en/code-security/secret-scanning lists most)."""

_STARTS = (
    r"AIza[\w\-]{9}", r"GOCSPX-", r"ya29\.", r"gh[pousr]_[A-Z0-9]{9}", r"github_pat_", r"gl[a-z]{2,5}-[\w.\-]{9}",
    r"xox[abeoprs][.\-]", r"xapp-\d", r"hooks\.slack\.com/", r"[sr]k_(?:live|test)_", r"whsec_",
    r"sk-[A-Z0-9][\w\-]{9}", r"hf_[A-Z0-9]{9}", r"SG\.[\w\-]{9}", r"SK[0-9a-f]{32}", r"key-[0-9a-f]{9}",
    r"[0-9a-f]{9}-us\d", r"npm_[A-Z0-9]{9}", r"pypi-AgE", r"dckr_[po]at_", r"do[opr]_v1_", r"shp(?:at|ca|pa|ss)_",
    r"sq0[acti][tsd]p-", r"EAAA[\w\-]{60}", r"\d:AA[\w\-]{9}", r"dapi[a-f0-9]{9}", r"hv[sb]\.[\w\-]{9}",
    r"\.atlasv1\.", r"gl(?:sa|c)_[A-Z0-9]", r"NRAK-", r"PMAK-", r"ATATT3", r"lin_(?:api|oauth)_", r"ntn_[A-Z0-9]",
    r"cloudinary://", r"Access?Key=", r"AccountKey=", r"AGE-SECRET-KEY",
)  # fmt: skip
"""How they start: enough to look closer."""


class ApiKeyRecognizer(SecretRecognizer):
    """Keys of services that say by their own form what they are."""

    ENTITY = e.API_KEY
    PATTERNS = tuple(Pattern(name, rf"(?<![A-Za-z0-9_-])(?:{form})", 0.8) for name, form in _PREFIXED.items())
    FORMS = _STARTS

    def invalidate_result(self, pattern_text: str) -> bool:
        return len(set(pattern_text[-12:])) <= 2


class AssignedKeyRecognizer(SecretRecognizer):
    """Keys and tokens of any kind behind their name: `api_key = ...`, `"clientSecret": "..."`."""

    ENTITY = e.API_KEY
    FLAGS = _ANY_CASE
    PATTERNS = (
        Pattern("assigned", rf"{_KEY}[\"'\])]{{0,2}}{_SIGN}[\"'`]?\K[\w./+=~:-]{{16,512}}(?<![.:])", 0.6),
        Pattern("option", rf"--[\w-]{{0,30}}?{_KEY}[ =]\K[\w./+=~:-]{{16,512}}(?<![.:])", 0.6),
    )
    FORMS = (r"(?:key|token|secret|credential)[\w.\-]{0,20}[\x22'\])]{0,2}\s{0,3}[:= ]",)

    def invalidate_result(self, pattern_text: str) -> bool:
        return not _is_random(pattern_text)


class WholeApiKeyRecognizer(SecretRecognizer):
    """The whole value of a field whose name says that it holds a key or a token."""

    ENTITY = e.API_KEY
    PATTERNS = (Pattern("whole value (weak)", r"^[\w./+=~: -]{8,4096}$", 0.05),)

    def invalidate_result(self, pattern_text: str) -> bool:
        return not _has_digit(pattern_text) or _DATE.match(pattern_text) is not None or _is_placeholder(pattern_text)


class BearerRecognizer(SecretRecognizer):
    """What an HTTP header authorises with (RFC 6750, RFC 7617)."""

    ENTITY = e.BEARER_TOKEN
    FLAGS = _ANY_CASE
    PATTERNS = (
        Pattern(
            "header",
            r"authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:bearer|token|basic|apikey)\s{1,3}\K[\w.~+/=-]{6,4096}(?<!\.)",
            0.8,
        ),
        Pattern("bearer", r"\bbearer\s{1,3}\K(?=[\w.~+/-]*\d)(?=[\w.~+/-]*[a-z])[\w.~+/-]{16,4096}(?<!\.)={0,2}", 0.6),
    )
    FORMS = (r"authorization[\x22']?\s{0,3}[:=]", r"bearer\s")

    def invalidate_result(self, pattern_text: str) -> bool:
        return _is_placeholder(pattern_text)


class PasswordRecognizer(SecretRecognizer):
    """Passwords in quotes, behind an equals sign, in XML: whatever they look like."""

    ENTITY = e.PASSWORD
    FLAGS = _ANY_CASE
    PATTERNS = (
        Pattern("quoted", rf"{_WORD}[\"'\])]{{0,2}}{_SIGN}" + _QUOTED % "3,256", 0.7),
        Pattern("assigned", rf"(?:{_WORD}|(?<![A-Za-z])pass)=\K[^\s\"'<>&;,]{{4,256}}", 0.7),
        Pattern("element", rf"<(?:\w{{1,20}}:)?{_WORD}>\K[^<\n]{{3,256}}(?=</)", 0.7),
    )
    FORMS = (r"(?:passw|passp|passc|pwd|kennwort|contrase)[^\s:=>]{0,20}\s{0,3}[:=>]", r"pass=")

    def invalidate_result(self, pattern_text: str) -> bool:
        return _is_placeholder(pattern_text) or _is_code(pattern_text)


class SpokenPasswordRecognizer(SecretRecognizer):
    """Passwords behind a colon or `is`: words there are often prose, so it takes a digit or sign among letters."""

    ENTITY = e.PASSWORD
    FLAGS = _ANY_CASE
    PATTERNS = (Pattern("said", rf"{_WORD}{_SAID}\K[^\s\"'<>]{{5,256}}(?<![.,;:)\]}}])", 0.6),)
    FORMS = (r"(?:passw|passp|passc|pwd|kennwort|contrase)[^\s:=]{0,20}\s{0,3}[^\s]",)

    def invalidate_result(self, pattern_text: str) -> bool:
        if _is_placeholder(pattern_text) or _is_code(pattern_text) or "://" in pattern_text:
            return True
        letters = sum(map(str.isalpha, pattern_text))
        return not 0 < letters < len(pattern_text) or _HYPHENATED.fullmatch(pattern_text) is not None


class WholePasswordRecognizer(SecretRecognizer):
    """The whole value of a field called `password`."""

    ENTITY = e.PASSWORD
    PATTERNS = (Pattern("whole value (weak)", r"^\S(?:[^\n]{2,254}\S)?$", 0.05),)

    def invalidate_result(self, pattern_text: str) -> bool:
        return len(pattern_text) < 3 or _is_placeholder(pattern_text) or _DATE.match(pattern_text) is not None


MAKERS = (
    CredentialUriRecognizer, PrivateKeyRecognizer, JwtRecognizer, AwsAccessKeyRecognizer, AwsSecretKeyRecognizer,
    ApiKeyRecognizer, AssignedKeyRecognizer, BearerRecognizer, PasswordRecognizer, SpokenPasswordRecognizer,
)  # fmt: skip
WHOLE_MAKERS = (WholeAwsSecretKeyRecognizer, WholeApiKeyRecognizer, WholePasswordRecognizer)

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]|$)")
_HYPHENATED = re.compile(r"[A-Za-z]+(?:[-'/.][A-Za-z]+)*[-!?*]*|\W+[A-Za-z]+\W*")
"""Words with nothing but ordinary punctuation: `re-entered`, `case-sensitive`."""
_CALL = re.compile(r"[A-Za-z_$][\w.$]*[\[(].*|[A-Za-z_$][A-Za-z_$]*(?:\.[A-Za-z_$]+)+|\$\w+|%\w%?")
_STAND_INS = frozenset(
    {
        "none", "null", "nil", "true", "false", "undefined", "str", "string", "text", "bytes", "varchar", "required",
        "optional", "password", "passwd", "pwd", "secret", "token", "apikey", "redacted", "hidden", "masked", "input",
    }
)  # fmt: skip


def _is_placeholder(text: str) -> bool:
    """Something stands where a secret would: stars, `${PASSWORD}`, `<your key>`, `None`."""
    bare = text.strip().lower()
    if bare.rstrip(")]}:,;.") in _STAND_INS or not bare or len(set(bare)) == 1 or not any(map(str.isalnum, bare)):
        return True
    if bare[0] in "<[{%" and bare[-1] in ">]}%":
        return True
    return bare.startswith(("${", "$(", "{{", "%(", "your", "<", "xxx"))


def _is_code(text: str) -> bool:
    """A name or a call from a program rather than a value: `os.environ["X"]`, `config.password`, `getpass()`."""
    return _CALL.fullmatch(text) is not None


def _is_random(text: str) -> bool:
    """Letters and digits mixed, with at least three bits a character: neither a word nor a path nor a number."""
    if not _has_digit(text) or not any(map(str.isalpha, text)) or "://" in text or _is_placeholder(text):
        return False
    if text.startswith(("/", "./", "../", "~/")) or _DATE.match(text):
        return False
    return _bits(text) >= 3.0


def _bits(text: str) -> float:
    """Shannon's entropy in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def _has_mixed_case(text: str) -> bool:
    return any(map(str.isupper, text)) and any(map(str.islower, text))

"""Names of the kinds of personal data: presidio's, and those that profiles use."""

from __future__ import annotations

from nectar.scrub.find.locales import LOCALES

EMAIL_ADDRESS = "EMAIL_ADDRESS"
PHONE_NUMBER = "PHONE_NUMBER"
CREDIT_CARD = "CREDIT_CARD"
US_SSN = "US_SSN"
US_ITIN = "US_ITIN"
US_PASSPORT = "US_PASSPORT"
US_DRIVER_LICENSE = "US_DRIVER_LICENSE"
US_BANK_NUMBER = "US_BANK_NUMBER"
ACCOUNT_NUMBER = "ACCOUNT_NUMBER"
ABA_ROUTING_NUMBER = "ABA_ROUTING_NUMBER"
TRANSACTION_ID = "TRANSACTION_ID"
IBAN_CODE = "IBAN_CODE"
SWIFT_CODE = "SWIFT_CODE"
CRYPTO = "CRYPTO"
UK_NHS = "UK_NHS"
MEDICAL_LICENSE = "MEDICAL_LICENSE"
IP_ADDRESS = "IP_ADDRESS"
MAC_ADDRESS = "MAC_ADDRESS"
UUID = "UUID"
URL = "URL"
DATE_TIME = "DATE_TIME"

CREDENTIAL_URI = "CREDENTIAL_URI"
PRIVATE_KEY = "PRIVATE_KEY"
JWT = "JWT"
AWS_ACCESS_KEY = "AWS_ACCESS_KEY"
AWS_SECRET_KEY = "AWS_SECRET_KEY"  # noqa: S105  a name
API_KEY = "API_KEY"
BEARER_TOKEN = "BEARER_TOKEN"  # noqa: S105
PASSWORD = "PASSWORD"  # noqa: S105

PERSON = "PERSON"
LOCATION = "LOCATION"
ORGANIZATION = "ORGANIZATION"
NRP = "NRP"

SECRETS = (
    CREDENTIAL_URI, PRIVATE_KEY, JWT, AWS_ACCESS_KEY, AWS_SECRET_KEY, API_KEY, BEARER_TOKEN, PASSWORD,
)  # fmt: skip
"""What opens something."""

MODELLED = (PERSON, LOCATION, ORGANIZATION, NRP)
"""What only a language model finds (`nectar.scrub.find.names`): names of people, places, organisations, and what
presidio calls NRP: nationalities, religions, political groups."""

DEFAULT = (
    EMAIL_ADDRESS,
    PHONE_NUMBER,
    CREDIT_CARD,
    US_SSN,
    US_ITIN,
    US_BANK_NUMBER,
    ACCOUNT_NUMBER,
    ABA_ROUTING_NUMBER,
    TRANSACTION_ID,
    IBAN_CODE,
    SWIFT_CODE,
    CRYPTO,
    US_PASSPORT,
    US_DRIVER_LICENSE,
    UK_NHS,
    MEDICAL_LICENSE,
    IP_ADDRESS,
    MAC_ADDRESS,
    UUID,
    *SECRETS,
    URL,
    DATE_TIME,
)
"""What is looked for where nothing is named: what presidio's English default finds by patterns, and ours."""

_LOCAL = tuple(entity for kinds in LOCALES.values() for entity in kinds)
ALL = tuple(dict.fromkeys((*DEFAULT, *_LOCAL, *MODELLED)))
"""All that may be asked for; the order settles what nothing else settles."""


def phones_of(region: str) -> str:
    """What is asked for beside PHONE_NUMBER so that numbers as one more region writes them are found; ISO 3166."""
    return f"{PHONE_NUMBER}:{region}"


JOINABLE = tuple(entity for entity in DEFAULT if entity not in {URL, DATE_TIME, *SECRETS})
"""Kinds that name a person or an account, so that one value must get one pseudonym wherever it stands."""

PROFILE_NAMES: dict[str, tuple[str, ...]] = {
    "email_addresses": (EMAIL_ADDRESS,),
    "emails": (EMAIL_ADDRESS,),
    "phone_numbers": (PHONE_NUMBER,),
    "phones": (PHONE_NUMBER,),
    "credit_cards": (CREDIT_CARD,),
    "card_numbers": (CREDIT_CARD,),
    "social_security_numbers": (US_SSN,),
    "taxpayer_ids": (US_ITIN,),
    "account_numbers": (US_BANK_NUMBER, ACCOUNT_NUMBER),
    "routing_numbers": (ABA_ROUTING_NUMBER,),
    "transaction_ids": (TRANSACTION_ID,),
    "iban_codes": (IBAN_CODE,),
    "ibans": (IBAN_CODE,),
    "swift_codes": (SWIFT_CODE,),
    "bic_codes": (SWIFT_CODE,),
    "crypto_addresses": (CRYPTO,),
    "passports": (US_PASSPORT,),
    "driver_licenses": (US_DRIVER_LICENSE,),
    "medical_licenses": (MEDICAL_LICENSE,),
    "nhs_numbers": (UK_NHS,),
    "ip_addresses": (IP_ADDRESS,),
    "mac_addresses": (MAC_ADDRESS,),
    "uuids": (UUID,),
    "urls": (URL,),
    "dates": (DATE_TIME,),
    "secrets": SECRETS,
    "credentials": SECRETS,
    "passwords": (PASSWORD, CREDENTIAL_URI),
    "api_keys": (API_KEY, AWS_ACCESS_KEY, AWS_SECRET_KEY, BEARER_TOKEN, JWT),
    "private_keys": (PRIVATE_KEY,),
    "names": (PERSON,),
    "places": (LOCATION,),
    "locations": (LOCATION,),
    "organizations": (ORGANIZATION,),
    "organisations": (ORGANIZATION,),
    "nationalities": (NRP,),
}
"""What profiles call them. A name of several kinds stands for all of them."""

"""Names of the kinds of personal data: presidio's, and those that profiles use."""

from __future__ import annotations

EMAIL_ADDRESS = "EMAIL_ADDRESS"
PHONE_NUMBER = "PHONE_NUMBER"
CREDIT_CARD = "CREDIT_CARD"
US_SSN = "US_SSN"
US_BANK_NUMBER = "US_BANK_NUMBER"
ACCOUNT_NUMBER = "ACCOUNT_NUMBER"
ABA_ROUTING_NUMBER = "ABA_ROUTING_NUMBER"
TRANSACTION_ID = "TRANSACTION_ID"
IBAN_CODE = "IBAN_CODE"
IP_ADDRESS = "IP_ADDRESS"
URL = "URL"

ENTITIES = (
    EMAIL_ADDRESS,
    PHONE_NUMBER,
    CREDIT_CARD,
    US_SSN,
    US_BANK_NUMBER,
    ACCOUNT_NUMBER,
    ABA_ROUTING_NUMBER,
    TRANSACTION_ID,
    IBAN_CODE,
    IP_ADDRESS,
    URL,
)
"""All that can be looked for; the order settles what nothing else settles."""

JOINABLE = tuple(entity for entity in ENTITIES if entity != URL)
"""Kinds that name a person or an account, so that one value must get one pseudonym wherever it stands."""

PROFILE_NAMES: dict[str, tuple[str, ...]] = {
    "email_addresses": (EMAIL_ADDRESS,),
    "phone_numbers": (PHONE_NUMBER,),
    "credit_cards": (CREDIT_CARD,),
    "social_security_numbers": (US_SSN,),
    "account_numbers": (US_BANK_NUMBER, ACCOUNT_NUMBER),
    "routing_numbers": (ABA_ROUTING_NUMBER,),
    "transaction_ids": (TRANSACTION_ID,),
    "iban_codes": (IBAN_CODE,),
    "ip_addresses": (IP_ADDRESS,),
    "urls": (URL,),
}

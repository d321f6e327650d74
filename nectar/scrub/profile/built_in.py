"""Profiles that come with the package. No profile makes anybody compliant with anything: it finds what it says.

gdpr_compliant, financial_data
    As specified, no more and no less.
ccpa
    What has a form among the identifiers of California's Civil Code 1798.140(v)(1)(A) and 1798.81.5: addresses on the
    net, and numbers of people, accounts and papers. Not: names, postal addresses, biometrics, places of devices,
    purchases, browsing, and what is inferred of a person.
hipaa
    Safe Harbor, 45 CFR 164.514(b)(2)(i), as far as patterns and names of fields go:
      (C) dates to the year, (D, E) phone and fax, (F) email, (G) SSN, (J) accounts, (K) licences, (M) devices by MAC
      address, (N) URLs, (O) IP addresses; by the field's name ZIP codes (B), birthdays (C), medical record and health
      plan numbers (H, I), certificates (K), vehicles (L), devices (M).
      Not: (A) names and (B) places: list `names` and `places` in a profile that extends this one, which needs a
      language model; ages above 89 and years that tell them (C); (P) fingerprints and voices, (Q) photographs; (R) any
      other code that tells of one person. A person must look for those.
pci_dss
    Card numbers show four digits at most (3.4.1 allows the first six and last four); what 3.3 forbids to keep goes:
    magnetic tracks wherever they stand, CVV and PIN in fields that are named so. Not: CVV, PIN and expiry in the
    middle of a text, where they are three or four digits like any others.
soc2
    SOC 2 lists no identifiers. Secrets that must not lie about (CC6.1), and the personal data that its criteria of
    privacy ask to be limited (P4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def _fields(action: str, *names: str) -> Sequence[Mapping[str, str]]:
    return [{"field": name, "action": action} for name in names]


BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "gdpr_compliant": {
        "pii_detection": ["email_addresses", "phone_numbers", "credit_cards", "social_security_numbers"],
        "actions": {
            "email_addresses": "hash_with_salt",
            "phone_numbers": "remove",
            "credit_cards": "remove",
            "social_security_numbers": "remove",
        },
    },
    "financial_data": {
        "sensitive_patterns": ["account_numbers", "routing_numbers", "transaction_ids"],
        "actions": {
            "account_numbers": "mask_partial",
            "routing_numbers": "remove",
            "transaction_ids": "hash_with_salt",
        },
    },
    "ccpa": {
        "pii_detection": [
            "email_addresses", "ip_addresses", "phone_numbers", "social_security_numbers", "taxpayer_ids",
            "credit_cards", "account_numbers", "passports", "driver_licenses", "mac_addresses",
        ],
        "actions": {
            "email_addresses": "hash_with_salt",
            "phone_numbers": "hash_with_salt",
            "credit_cards": "mask_partial",
            "account_numbers": "mask_partial",
            "ip_addresses": "generalise:network",
        },
        "default_action": "remove",
    },
    "hipaa": {
        "pii_detection": [
            "email_addresses", "phone_numbers", "social_security_numbers", "taxpayer_ids", "account_numbers",
            "credit_cards", "iban_codes", "driver_licenses", "passports", "medical_licenses", "mac_addresses",
            "ip_addresses", "urls", "dates",
        ],
        "actions": {"dates": "generalise:year"},
        "default_action": "replace",
        "custom_rules": [
            *_fields(
                "remove",
                "zip", "zip_code", "zipcode", "*_zip", "*_zip_code", "*_zipcode", "postal_code", "postalcode",
                "*_postal_code", "postcode",
                "mrn", "medical_record", "medical_record_n*", "medicalrecordnumber", "health_plan_n*", "health_plan_id",
                "beneficiary_n*", "beneficiary_id", "member_id", "insurance_id", "subscriber_id",
                "license_n*", "licence_n*", "certificate_n*", "vin", "vehicle_id", "license_plate", "licence_plate",
                "device_id", "device_serial*", "serial_number", "imei",
                "fax", "fax_n*", "ssn",
            ),
            *_fields("generalise:year", "dob", "birthday", "birth_date", "birthdate", "date_of_birth", "dateofbirth"),
        ],
    },
    "pci_dss": {
        "sensitive_patterns": ["credit_cards"],
        "actions": {"credit_cards": "mask_partial"},
        "custom_rules": [
            *_fields(
                "remove",
                "cvv", "cvv2", "cvc", "cvc2", "cid", "cav2", "card_cvv", "card_cvc", "cvv_code", "cvc_code",
                "security_code", "card_security_code", "card_verification*", "pin", "pin_block", "card_pin", "track1",
                "track2", "track_1", "track_2", "track_data", "magstripe", "magnetic_stripe",
            ),
            # ISO/IEC 7813: both tracks, as a reader gives them.
            {"pattern": r"%?B\d{12,19}\^[^^\r\n]{2,26}\^\d{7,}[^?\r\n]{0,40}\??", "action": "remove"},
            {"pattern": r";?(?<!\d)\d{12,19}=\d{7,30}\??", "action": "remove"},
        ],
    },
    "soc2": {
        "pii_detection": [
            "secrets", "email_addresses", "ip_addresses", "phone_numbers", "social_security_numbers", "credit_cards",
            "account_numbers",
        ],
        "actions": {
            "secrets": "replace",
            "email_addresses": "hash_with_salt",
            "phone_numbers": "mask_partial",
            "social_security_numbers": "remove",
            "credit_cards": "mask_partial",
            "account_numbers": "mask_partial",
            "ip_addresses": "generalise:network",
        },
    },
}  # fmt: skip

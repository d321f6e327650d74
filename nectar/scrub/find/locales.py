"""Kinds of personal data of one country each: presidio's recognisers beyond its English default, chosen by a profile.

A locale is a country (`uk`, `de`, also as in `en_GB`); its kinds have presidio's names. The words are presidio's own
context words, without those that another one of them covers.
"""

# ruff: noqa: RUF001  words of other languages have letters of other scripts

from __future__ import annotations

import difflib
from typing import NamedTuple


class LocalKind(NamedTuple):
    """The class in `presidio_analyzer.predefined_recognizers`, and the words that make its weak forms believable."""

    recogniser: str
    words: tuple[str, ...]


_KINDS: dict[str, dict[str, tuple[str, str]]] = {
    "au": {
        "AU_ABN": ("AuAbnRecognizer", "australian business number, abn"),
        "AU_ACN": ("AuAcnRecognizer", "australian company number, acn"),
        "AU_MEDICARE": ("AuMedicareRecognizer", "medicare"),
        "AU_TFN": ("AuTfnRecognizer", "tax file number, tfn"),
    },
    "ca": {
        "CA_POSTAL_CODE": (
            "CaPostalCodeRecognizer",
            "postal code, postcode, zip, canada, ontario, quebec, alberta, british columbia, code postal",
        ),
        "CA_SIN": ("CaSinRecognizer", "sin, social insurance, canada, nas, assurance sociale"),
    },
    "de": {
        "DE_BSNR": (
            "DeBsnrRecognizer",
            "bsnr, betriebsstätte, praxis, kassenärztliche vereinigung, kv nummer, behandlungsort",
        ),
        "DE_FUEHRERSCHEIN": (
            "DeFuehrerscheinRecognizer",
            ("führerschein, fahrerlaubnis, fev, kba, kraftfahrt bundesamt, driving licence, driving license, "
            "drivers license, licence number, license number, dokument nr, feld 5"),
        ),
        "DE_HANDELSREGISTER": (
            "DeHandelsregisterRecognizer",
            ("handelsregister, amtsgericht, registergericht, hra, hrb, hr nummer, registerauszug, firma, "
            "gesellschaft, gmbh, ag, ug, kg, ohg, einzelkaufmann, einzelkauffrau"),
        ),
        "DE_HEALTH_INSURANCE": (
            "DeHealthInsuranceRecognizer",
            ("versichertennummer, kvnr, krankenkasse, krankenversicherung, gesundheitskarte, egk, gkv, "
            "versichertenausweis, versichertenkarte, aok, tkk, barmer, dak"),
        ),
        "DE_ID_CARD": (
            "DeIdCardRecognizer",
            "ausweis, dokumentennummer, seriennummer, npa, pauwsg, identity card, national id",
        ),
        "DE_KFZ": ("DeKfzRecognizer", "kennzeichen, nummernschild, zulassung, kfz, fahrzeug, auto, pkw, lkw"),
        "DE_LANR": (
            "DeLanrRecognizer",
            ("arztnummer, lanr, arzt nr, arzt nummer, vertragsarzt, kassenarzt, niedergelassener arzt, kbv, "
            "kassenärztliche vereinigung, kv nummer, rezept, verschreibung, behandelnder arzt, hausarzt, facharzt"),
        ),
        "DE_PASSPORT": (
            "DePassportRecognizer",
            "pass, dokumentennummer, bundesrepublik deutschland, ausweisdokument, mrz",
        ),
        "DE_PLZ": (
            "DePlzRecognizer",
            ("plz, postleitzahl, postanschrift, adresse, ort, wohnanschrift, straße, strasse, hausnummer, "
            "postfach, bundesland, gemeinde, stadt, dorf"),
        ),
        "DE_SOCIAL_SECURITY": (
            "DeSocialSecurityRecognizer",
            "versicherungsnummer, rvnr, svnr, sv nummer, rente, drv, sozialversicherung",
        ),
        "DE_TAX_ID": (
            "DeTaxIdRecognizer",
            ("steuer id, steuerid, steuerliche identifikationsnummer, steuerliche identifikation, persönliche "
            "identifikationsnummer, steuer identifikation, idnr, steuernummer, bzst"),
        ),
        "DE_TAX_NUMBER": (
            "DeTaxNumberRecognizer",
            ("steuernummer, steuer nr, st nr, finanzamt, umsatzsteuer, einkommensteuer, körperschaftsteuer, "
            "gewerbesteuer, steuerveranlagung, steuerbescheid"),
        ),
        "DE_VAT_ID": (
            "DeVatIdRecognizer",
            ("umsatzsteuer identifikationsnummer, ust idnr, ust id, ustidnr, umsatzsteuer id, mehrwertsteuer, vat, "
            "steueridentifikation, bzst, bundeszentralamt für steuern, finanzamt, invoice, rechnung"),
        ),
    },
    "es": {
        "ES_NIE": ("EsNieRecognizer", "número de identificación de extranjero, nie"),
        "ES_NIF": ("EsNifRecognizer", "documento nacional de identidad, dni, nif, identificación"),
        "ES_PASSPORT": ("EsPassportRecognizer", "pasaporte, passport"),
    },
    "fi": {
        "FI_PERSONAL_IDENTITY_CODE": (
            "FiPersonalIdentityCodeRecognizer",
            "hetu, henkilötunnus, personbeteckningen, personal identity code",
        ),
    },
    "in": {
        "IN_AADHAAR": ("InAadhaarRecognizer", "aadhaar, uidai"),
        "IN_GSTIN": ("InGstinRecognizer", "gst, goods and services tax, tax identification"),
        "IN_PAN": ("InPanRecognizer", "permanent account number, pan"),
        "IN_PASSPORT": ("InPassportRecognizer", "passport"),
        "IN_VEHICLE_REGISTRATION": ("InVehicleRegistrationRecognizer", "rto, vehicle, plate, registration"),
        "IN_VOTER": ("InVoterRecognizer", "voter, epic, elector photo identity card"),
    },
    "it": {
        "IT_DRIVER_LICENSE": ("ItDriverLicenseRecognizer", "patente, licenza"),
        "IT_FISCAL_CODE": ("ItFiscalCodeRecognizer", "codice fiscale, cf"),
        "IT_IDENTITY_CARD": (
            "ItIdentityCardRecognizer",
            "carta, identità, elettronica, cie, documento, riconoscimento, espatrio",
        ),
        "IT_PASSPORT": (
            "ItPassportRecognizer",
            "passaporto, elettronico, italiano, viaggio, viaggiare, estero, documento, dogana",
        ),
        "IT_VAT_CODE": ("ItVatCodeRecognizer", "piva, partita iva, pi"),
    },
    "kr": {
        "KR_BRN": (
            "KrBrnRecognizer",
            "사업자, brn, business registration number, business number, tax registration number",
        ),
        "KR_DRIVER_LICENSE": ("KrDriverLicenseRecognizer", "운전면허, 면허번호, korean driver, driver license"),
        "KR_FRN": ("KrFrnRecognizer", "외국인등록번호, frn, foreigner registration number, 외국인번호"),
        "KR_PASSPORT": ("KrPassportRecognizer", "여권, passport"),
        "KR_RRN": ("KrRrnRecognizer", "resident registration number, rrn"),
    },
    "ng": {
        "NG_NIN": (
            "NgNinRecognizer",
            "nin, national identification number, nimc, national identity, nigeria id, nigerian identification",
        ),
        "NG_VEHICLE_REGISTRATION": ("NgVehicleRegistrationRecognizer", "plate, vehicle, registration"),
    },
    "ph": {
        "PH_PASSPORT": ("PhPassportRecognizer", "passport, travel document, pasaporte, dfa"),
        "PH_TIN": (
            "PhTinRecognizer",
            "tin, taxpayer identification number, bir, taxpayer id, tax id, rdo, revenue district office",
        ),
        "PH_UMID": (
            "PhUmidRecognizer",
            ("umid, unified multi purpose id, crn, common reference number, sss, gsis, philhealth, pag ibig, "
            "unified multipurpose id"),
        ),
    },
    "pl": {
        "PL_PESEL": ("PlPeselRecognizer", "pesel"),
    },
    "se": {
        "SE_ORGANISATIONSNUMMER": (
            "SeOrganisationsnummerRecognizer",
            "organisationsnummer, orgnr, org nr, företagsnummer",
        ),
        "SE_PERSONNUMMER": (
            "SePersonnummerRecognizer",
            "personnummer, svensk id, ssn, personal identity number, samordningsnummer",
        ),
    },
    "sg": {
        "SG_NRIC_FIN": ("SgFinRecognizer", "fin, nric"),
        "SG_UEN": ("SgUenRecognizer", "uen, unique entity number, business registration, acra"),
    },
    "th": {
        "TH_TNIN": (
            "ThTninRecognizer",
            "thai national id, thai id number, tnin, เลขประจำตัวประชาชน, เลขบัตรประชาชน, รหัสปชช",
        ),
    },
    "tr": {
        "TR_LICENSE_PLATE": ("TrLicensePlateRecognizer", "plaka, plate, kayıt"),
        "TR_NATIONAL_ID": (
            "TrNationalIdRecognizer",
            ("tc kimlik, kimlik no, kimlik numarası, tckn, tc no, nüfus cüzdanı, national id, turkish id, türk "
            "kimlik"),
        ),
    },
    "uk": {
        "UK_DRIVING_LICENCE": (
            "UkDrivingLicenceRecognizer",
            ("driving licence, driving license, drivers licence, drivers license, dvla, dl number, licence number, "
            "license number"),
        ),
        "UK_NINO": ("UkNinoRecognizer", "national insurance, ni number, nino"),
        "UK_PASSPORT": ("UkPassportRecognizer", "passport, travel document, her majesty, his majesty, hmpo"),
        "UK_POSTCODE": (
            "UkPostcodeRecognizer",
            "postcode, post code, postal code, zip, address, delivery, mailing, shipping, correspondence",
        ),
        "UK_VEHICLE_REGISTRATION": (
            "UkVehicleRegistrationRecognizer",
            "vehicle, number plate, licence plate, license plate, reg, vrn, dvla, v5c, logbook, mot, car",
        ),
    },
    "us": {
        "US_HEALTH_INSURANCE_MEMBER_ID": (
            "UsHealthInsuranceMemberIdRecognizer",
            "member, subscriber, insurance, policy",
        ),
        "US_PRIOR_AUTHORIZATION_NUMBER": ("UsPriorAuthorizationNumberRecognizer", "auth, approval"),
        "US_CLAIM_NUMBER": ("UsClaimNumberRecognizer", "claim, billing"),
        "US_PRESCRIPTION_NUMBER": ("UsPrescriptionNumberRecognizer", "prescription, pharmacy, medication"),
        "US_REFERRAL_NUMBER": ("UsReferralNumberRecognizer", "referral, infusion, specialty, referring"),
        "US_PROVIDER_TAX_ID": ("UsProviderTaxIdRecognizer", "tax, tin, ein, billing"),
        "US_MBI": ("UsMbiRecognizer", "medicare, mbi, beneficiary, cms, medicaid, hic"),
        "US_NPI": ("UsNpiRecognizer", "npi, provider, taxonomy"),
    },
    "za": {
        "ZA_COMPANY_REGISTRATION": (
            "ZaCompanyRegistrationRecognizer",
            "cipc, company registration, registration number, close corporation, company reg, enterprise number",
        ),
        "ZA_DRIVER_LICENSE": ("ZaDriverLicenseRecognizer", "licence, license, natis"),
        "ZA_ID_NUMBER": ("ZaIdNumberRecognizer", "id, identity"),
        "ZA_INCOME_TAX_NUMBER": (
            "ZaIncomeTaxNumberRecognizer",
            "sars, tax reference, income tax, tax number, itr, taxpayer, tax registration",
        ),
        "ZA_LICENSE_PLATE": (
            "ZaLicensePlateRecognizer",
            "licence plate, license plate, number plate, registration, natis, plate number",
        ),
        "ZA_PASSPORT": ("ZaPassportRecognizer", "passport, travel document, dha"),
        "ZA_MOBILE_NUMBER": (
            "ZaMobileNumberRecognizer",
            "phone, number, cell, mobile, call, handset, landline, tel, sms, whatsapp",
        ),
        "ZA_TELEPHONE_NUMBER": (
            "ZaTelephoneNumberRecognizer",
            "phone, number, cell, mobile, call, handset, landline, tel, sms, whatsapp",
        ),
        "ZA_TRAFFIC_REGISTER_NUMBER": (
            "ZaTrafficRegisterNumberRecognizer",
            "traffic register, trn, natis, vehicle register",
        ),
        "ZA_VAT_NUMBER": ("ZaVatNumberRecognizer", "vat, tax invoice, sars, value added tax"),
    },
}  # fmt: skip

_IN_THE_DEFAULT = {
    "uk": ("UK_NHS",),
    "us": (
        "US_SSN", "US_ITIN", "US_PASSPORT", "US_DRIVER_LICENSE", "US_BANK_NUMBER", "ABA_ROUTING_NUMBER",
        "MEDICAL_LICENSE",
    ),
}  # fmt: skip
"""Kinds of these countries that are looked for without a locale, too."""

_SYNONYMS = {"gb": "uk"}

KINDS: dict[str, LocalKind] = {
    entity: LocalKind(recogniser, tuple(words.split(", ")))
    for kinds in _KINDS.values()
    for entity, (recogniser, words) in kinds.items()
}

LOCALES: dict[str, tuple[str, ...]] = {name: (*_IN_THE_DEFAULT.get(name, ()), *kinds) for name, kinds in _KINDS.items()}


def entities_of_locale(name: str) -> tuple[str, ...]:
    """The kinds of a country: `uk`, `UK`, `gb`, `en_GB` and `en-GB` mean the same.

    Raises ValueError with the nearest name for a country without kinds of its own.
    """
    country = name.casefold().replace("-", "_").rpartition("_")[2]
    country = _SYNONYMS.get(country, country)
    if country not in LOCALES:
        near = difflib.get_close_matches(country, [*LOCALES, *_SYNONYMS], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no locale is named {name!r}; {hint}there are {', '.join(LOCALES)}")
    return LOCALES[country]

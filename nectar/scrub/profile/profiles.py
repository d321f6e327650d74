"""Profiles: which kinds of personal data are looked for, and what is done with each.

    scrubbing_profiles:
      support:
        extends: gdpr_compliant                 # all of another profile, ones own or built in
        pii_detection: [ip_addresses, names]    # or sensitive_patterns: the two are read alike
        actions: {ip_addresses: generalise:network, email_addresses: {action: tokenize}}
        default_action: replace                 # of kinds without an action
        locales: [de, uk]                       # the kinds of these countries, and their phone numbers
        regions: [CH, AT]                       # phone numbers of these countries without a country code
        threshold: 0.5                          # lower scores are left alone (0.37; 0.35 acts on what is doubted)
        custom_rules: [{field: notes, action: remove}]

Names are those of the documents (`email_addresses`) or presidio's (`EMAIL_ADDRESS`). Built-in profiles answer to the
names of the rules as people write them: GDPR, CCPA, HIPAA, PCI-DSS, SOC2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nectar.errors import BadProfile
from nectar.scrub.find.entities import ALL, PROFILE_NAMES
from nectar.scrub.find.findings import THRESHOLD
from nectar.scrub.find.locales import entities_of_locale
from nectar.scrub.profile.built_in import BUILT_IN
from nectar.scrub.profile.rules import Rules, parse_rules
from nectar.scrub.treat.treatment import Action, Treatment, did_you_mean, known_keys, treatment_of

__all__ = ["BUILT_IN", "Action", "Profile", "bases", "did_you_mean", "known_keys", "meant", "profile_named"]

_CALLED = {"gdpr": "gdpr_compliant", "pci": "pci_dss", "soc_2": "soc2"}
_LISTS = ("pii_detection", "sensitive_patterns")
_KEYS = (*_LISTS, "actions", "default_action", "extends", "locales", "regions", "threshold", "custom_rules")


@dataclass(frozen=True)
class Profile:
    """What to do by entity, in the profile's order, which settles ties between findings.

    threshold  findings with a lower score are left alone
    regions    ISO codes of countries whose phone numbers are known without a country code, beyond the usual ones
    rules      rules of the profile's own; those of whoever uses it come first
    """

    name: str = ""
    treatments: tuple[tuple[str, Treatment], ...] = ()
    threshold: float = THRESHOLD
    regions: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    default: Treatment | None = None

    @cached_property
    def actions(self) -> tuple[tuple[str, Action], ...]:
        """(entity, action)"""
        return tuple((entity, treatment.action) for entity, treatment in self.treatments)


def profile_named(name: object, own: Mapping[str, Any]) -> Profile:
    """The profile of that name among one's own and those that are built in; None is the empty profile.

    Raises BadProfile that names the profile and what is wrong with it.
    """
    if name is None:
        return Profile()
    return _named(name, own, ())


def meant(name: str, own: Mapping[str, Any]) -> str:
    """The profile's name as it is defined: `PCI-DSS` is pci_dss, unless one's own profile is called so."""
    if name in own or name in BUILT_IN:
        return name
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    plain = _CALLED.get(plain, plain)
    return plain if plain in BUILT_IN else name


def bases(name: str, own: Mapping[str, Any]) -> list[str]:
    """The names in `own` that the profile of this name needs: itself, and whatever it extends."""
    needed: list[str] = []
    name = meant(name, own)
    definition = own.get(name)
    while isinstance(definition, Mapping) and name not in needed:
        needed.append(name)
        name = meant(str(definition.get("extends")), own)
        definition = own.get(name)
    return needed


def _named(name: object, own: Mapping[str, Any], above: tuple[str, ...]) -> Profile:
    definitions = {**BUILT_IN, **own}
    name = meant(name, own) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in definitions:
        where = f"profile {above[-1]!r}, extends: " if above else ""
        raise BadProfile(f"{where}no scrubbing profile is named {name!r}; {did_you_mean(name, definitions)}")
    if name in above:
        if above[-1] == name and name in BUILT_IN:  # one's own form of a built-in profile
            return _parse(name, BUILT_IN[name], {}, ())
        raise BadProfile(f"profile {name!r} extends itself: {' -> '.join((*above, name))}")
    return _parse(name, definitions[name], own, above)


def _parse(name: str, definition: object, own: Mapping[str, Any], above: tuple[str, ...]) -> Profile:
    where = f"profile {name!r}"
    if not isinstance(definition, Mapping):
        raise BadProfile(f"{where}: expected a mapping with pii_detection or sensitive_patterns, and actions")
    known_keys(definition, _KEYS, where)
    base = Profile() if definition.get("extends") is None else _named(definition["extends"], own, (*above, name))
    given = definition.get("default_action")
    default = base.default if given is None else treatment_of(given, f"{where}, default_action")
    locales = _names(definition, "locales", where)
    listed = {kind: _entities(kind, where) for key in _LISTS for kind in _names(definition, key, where)}
    listed |= {locale: _of_locale(locale, where) for locale in locales}
    rules = parse_rules(definition.get("custom_rules"), where)
    treatments = _treatments(base, listed, definition.get("actions"), default, where)
    profile = Profile(
        name,
        tuple(treatments.items()),
        _threshold(definition, base, where),
        tuple(dict.fromkeys((*base.regions, *_regions(definition, locales, where)))),
        Rules((*rules.fields, *base.rules.fields), (*rules.patterns, *base.rules.patterns)),
        default,
    )
    if not profile.treatments and not profile.rules.fields and not profile.rules.patterns:
        raise BadProfile(
            f"{where} looks for nothing: list kinds under pii_detection, such as [EMAIL_ADDRESS], or give custom_rules"
        )
    return profile


def _treatments(
    base: Profile, listed: Mapping[str, tuple[str, ...]], given: object, default: Treatment | None, where: str
) -> dict[str, Treatment]:
    """Entity -> treatment: what the base has, changed and followed by what is listed here.

    Of two names for one entity that which means fewer counts: `API_KEY` before `secrets`.
    """
    if given is not None and not isinstance(given, Mapping):
        raise BadProfile(f"{where}: actions must map names to actions")
    inherited = dict(base.treatments)
    asked = dict(listed)
    for kind in given or {}:
        entities = asked.get(kind) or _known(kind)
        if not entities or not (kind in listed or set(entities) <= inherited.keys()):
            names = [*listed, *(name for name, own in PROFILE_NAMES.items() if set(own) <= inherited.keys())]
            raise BadProfile(f"{where}, actions: {kind!r} is not among what is looked for; {did_you_mean(kind, names)}")
        asked[kind] = entities
    found = dict(inherited)
    narrowest: dict[str, tuple[int, str]] = {}
    for kind, entities in asked.items():
        said = (given or {}).get(kind)
        for entity in entities:
            if said is not None:
                treatment = treatment_of(said, f"{where}, {kind}", entity)
            elif (usual := inherited.get(entity, default)) is not None:
                treatment = usual
            else:
                raise BadProfile(f"{where}: {kind!r} is listed but has no action, and there is no default_action")
            width, other = narrowest.get(entity, (len(ALL), ""))
            if other and width == len(entities) and found[entity] != treatment:
                raise BadProfile(f"{where}: {other!r} and {kind!r} are the same and have different actions")
            if width >= len(entities):
                found[entity] = treatment
                narrowest[entity] = (len(entities), kind)
    return found


def _names(definition: Mapping[str, Any], key: str, where: str) -> list[str]:
    names = definition.get(key) or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise BadProfile(f"{where}: {key} must be a list of names")
    return list(names)


def _known(kind: object) -> tuple[str, ...]:
    if not isinstance(kind, str):
        return ()
    return (kind,) if kind in ALL else PROFILE_NAMES.get(kind, ())


def _entities(kind: str, where: str) -> tuple[str, ...]:
    entities = _known(kind)
    if not entities:
        hint = did_you_mean(kind, [*PROFILE_NAMES, *ALL])
        raise BadProfile(f"{where}: nothing can be found under {kind!r}; {hint}")
    return entities


def _of_locale(locale: str, where: str) -> tuple[str, ...]:
    try:
        return entities_of_locale(locale)
    except ValueError as error:
        raise BadProfile(f"{where}, locales: {error}") from error


def _threshold(definition: Mapping[str, Any], base: Profile, where: str) -> float:
    given = definition.get("threshold", base.threshold)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
        raise BadProfile(f"{where}: threshold must be a number above 0 and up to 1, such as {THRESHOLD}")
    return float(given)


def _regions(definition: Mapping[str, Any], locales: list[str], where: str) -> list[str]:
    given = _names(definition, "regions", where)
    if not given and not locales:
        return []
    from phonenumbers import SUPPORTED_REGIONS

    from nectar.scrub.phones.phones import checked_regions

    try:
        checked_regions(given)
    except ValueError as error:
        raise BadProfile(f"{where}: {error}") from None
    countries = [locale.replace("-", "_").rpartition("_")[2].upper() for locale in locales]
    return [*given, *(country for c in countries if (country := "GB" if c == "UK" else c) in SUPPORTED_REGIONS)]

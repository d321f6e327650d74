"""Refusals (status 403 or 400) that mean a limit which waiting mends, by vendors' words where no header tells.

    GitHub       "API rate limit exceeded for ...", "You have exceeded a secondary rate limit", "... an abuse
                 detection mechanism" (docs.github.com, rate limits for the REST API)
    Google       reasons rateLimitExceeded, userRateLimitExceeded, quotaExceeded, dailyLimitExceeded and the like
                 (developers.google.com, resolve errors of Gmail, Drive, Calendar, Analytics, YouTube)
    Salesforce   REQUEST_LIMIT_EXCEEDED, for the last 24 hours
    Meta         "(#4) Application request limit reached", OAuthRateLimitException; with status 400, too
    AWS          ThrottlingException, TooManyRequestsException, with status 400; RequestThrottled
    Stack Exchange  throttle_violation, with status 400
    Mashery      "Developer Over Rate", "Developer Over Qps", ERR_403_DEVELOPER_OVER_RATE

A right that is missing is told apart: `Your plan limits ...`, `no right to see rate limits`, the storage's quota, and
Google's ...Unreg and accessNotConfigured, which a person mends.
"""

from __future__ import annotations

import re

_A_MINUTE = 60.0
"""Seconds; what GitHub asks for at least where it tells no time."""
_LONGER = 900.0
"""Seconds between two looks at a budget of a day."""
_URL = re.compile(rb"https?:[^\s\"'<>]*")
_A_DAY = re.compile(
    rb"\b(?:daily ?LimitExceeded|variableTermLimitExceeded|REQUEST_LIMIT_EXCEEDED"
    rb"|daily (?:request |rate |usage |api )*(?:limit|quota) (?:has been |was |is )?(?:exceeded|reached)"
    rb"|exceeded (?:\w+ ){0,3}daily (?:\w+ ){0,3}(?:limit|quota))\b",
    re.IGNORECASE,
)
_BURST = re.compile(
    rb"\b(?:(?:(?:user|project)?[-_ ]?rate|concurrent|serving)[-_ ]?limit[-_ ]?exceeded"
    rb"|rate[-_ ]?limits? (?:has been |have been |was |is )?(?:reached|hit|exceeded)"
    rb"|exceed(?:ed|ing|s)? (?:[\w']+ ){0,4}(?:rate[-_ ]?limits?|request limits?|number of requests)"
    rb"|(?:request|call)s? limits? (?:has been |was |is )?(?:exceeded|reached)"
    rb"|(?<!storage )(?<!disk )(?<!space )quota[-_ ]?(?:has been |was |is )?exceeded"
    rb"|exceeded (?:[\w']+ ){0,3}(?<!storage )(?<!disk )(?<!space )quota"
    rb"|rate[-_]?limited|too[-_ ]?many[-_ ]?requests(?:Exception)?|RESOURCE_EXHAUSTED"
    rb"|(?:request)?throttl(?:ed|ing)(?:Exception)?|throttle_violation|OAuthRateLimitException"
    rb"|abuse detection mechanism|developer[-_ ]over[-_ ](?:rate|qps))\b",
    re.IGNORECASE,
)


def asked_to_wait(said: bytes) -> float | None:
    """Seconds after which to ask again, by how the body of a refusal begins. None: it speaks of no such limit."""
    words = _URL.sub(b"", said)
    if _A_DAY.search(words):
        return _LONGER
    return _A_MINUTE if _BURST.search(words) else None

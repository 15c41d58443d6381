"""Where an agent's questions go: the endpoint, its limits, and the key, from the environment alone."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from csrec_core.errors import InputError

KEY_NAMES = ("CSREC_API_KEY", "OPENAI_API_KEY")
LONGEST_REQUEST = 86_400  # seconds
OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # sent to an endpoint of one's own that asks for no key


class Stopped(Exception):
    """The run stops before its end, for a reason in words; what it has is kept, and it can go on from it.

    Attributes
    ----------
    code : int
        Exit code of the command: 1 for trouble, 3 for a limit reached.
    """

    def __init__(self, message: str, *, code: int = 1):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where and how to ask."""

    model: str = ""
    base_url: str | None = None  # None is that of OPENAI_BASE_URL in the environment, else OpenAI's own
    concurrency: int = 8  # requests under way at a time, at most
    # Limits are of all requests written down in the cache, those of earlier sessions included. Tokens of
    # answers are known only when they come: those under way may go over the limit.
    limit_requests: int | None = None
    limit_tokens: int | None = None
    timeout: float = 60.0  # seconds a request may take, from its first byte to the last of its answer
    tries: int = 7  # requests for one answer that fail on the way (429, 5xx, time-out) before the run stops
    asks: int = 5  # answers of no use to one question before it is given up
    backoff: float = 1.0  # seconds before the second try; doubled at each further one, give or take half


def check_endpoint(endpoint: Endpoint) -> tuple[str, str]:
    """Return the address and the key; InputError without a model or a key, or for an address that is none."""
    if not endpoint.model:
        raise InputError("--agent openai needs --model, the name of a model that the endpoint knows")
    if not 0 < endpoint.timeout <= LONGEST_REQUEST:  # NaN is neither
        raise InputError(f"--timeout: expected seconds up to {LONGEST_REQUEST:,}, not {endpoint.timeout}")
    address = endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
    _check_url(address or OPENAI)
    key = next((key for name in KEY_NAMES if (key := os.environ.get(name, "").strip())), "")
    names = " or ".join(KEY_NAMES)
    if not (key or address):
        raise InputError(f"no key: set {names} in the environment, or give the --base-url of your own server")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the key in {names} has characters that no request can carry; expected plain text")
    return address or OPENAI, key or NO_KEY


def _check_url(address: str) -> None:
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        whole = False
    if not whole or not address.isprintable() or " " in address:
        raise InputError("--base-url: expected a URL such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise InputError(
            f"--base-url: it holds more than an address; a key is read from {' or '.join(KEY_NAMES)} only"
        )

"""Makes libcloud's driver for a storage, with the keys that the config names or that the environment has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from libcloud.common.google import GoogleAuthType
from libcloud.storage.providers import get_driver
from libcloud.storage.types import Provider

from ..config.schema import StorageConfig
from ..util.errors import PermanentError
from ..util.formatting import printable
from ..util.secrets import hide
from .cloud_http import CloudAdapter, connect


def default_credentials() -> Any:
    """boto3's default chain: environment, profile, web identity (IRSA), instance profile. It refreshes itself."""
    import boto3

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise PermanentError(
            "Provider S3 has no key, and no credentials were found in the environment or the instance: "
            "set a key and its secret, or give the instance or the pod a role."
        )
    return credentials


def secret_options(options: Mapping[str, Any]) -> Iterator[str]:
    """The values of further arguments of the driver whose names say that they are secrets."""
    for name, value in options.items():
        if re.search("secret|token|password|credential|key", name, re.IGNORECASE) and isinstance(value, (str, int)):
            yield str(value)


def make_driver(config: StorageConfig, adapter: CloudAdapter, key: str, secret: str, token: str) -> Any:
    """A driver whose requests ``adapter`` sends. Raises :class:`~.errors.PermanentError` if there is none for them."""
    constant = getattr(Provider, config.provider, None)
    if constant is None:
        raise PermanentError(
            f"{config.provider} is not a storage provider that this image's libcloud knows: choose another."
        )
    google: Any = GoogleAuthType
    if config.provider == "GOOGLE_STORAGE" and google.guess_type(key) == google.IA:
        # libcloud would print the address of a page to sign in on, and wait for a code from the keyboard.
        raise PermanentError(
            "The key of GOOGLE_STORAGE is not one that a job can sign in with: set the e-mail address of a service "
            "account (it ends in .gserviceaccount.com) with its private key as the secret, or the id of an HMAC key "
            "(it begins with GOOG) with its secret."
        )
    named = {"host": config.host, "port": config.port, "secure": config.secure, "region": config.region, "token": token}
    # Only what was set: no driver takes all of them.
    keywords = {name: value for name, value in named.items() if value not in (None, "")}
    if config.provider == "S3" and "host" not in keywords and "region" not in keywords:
        keywords["region"] = "us-east-1"
    try:
        driver: Any = get_driver(constant)(key, secret, **{**keywords, **config.options})
        connect(driver.connection, adapter)
    except (TypeError, ValueError, KeyError) as error:
        names = ", ".join(sorted({**keywords, **config.options}))
        detail = printable(hide(str(error), {secret, token, *secret_options(config.options)}))
        raise PermanentError(
            f"The {config.provider} driver can't be made with {names} ({detail}): leave out what it does not take."
        ) from None
    except AttributeError:
        pass  # a driver without HTTP
    return driver

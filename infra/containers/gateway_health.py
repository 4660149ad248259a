"""Whether the gateway in this container answers, over HTTPS where its settings name a certificate: the image's health
check. It ends with 0 when it does, and imports nothing of ours, because it is started every ten seconds."""

from __future__ import annotations

import os
import ssl
import urllib.request

SETTING = "TIDEGATE_GATEWAY__"
WITHIN_S = 2.0


def ask() -> None:
    """Raises `OSError` when it does not answer well in time, or shows another certificate than its own."""
    certificate = os.environ.get(f"{SETTING}TLS__CERTIFICATE", "")
    context = None
    if certificate:  # this very one, by whatever name: it is this container that is asked
        context = ssl.create_default_context(cafile=certificate)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False
    url = f"{'https' if certificate else 'http'}://127.0.0.1:{os.environ.get(f'{SETTING}PORT', '8080')}/healthz"
    direct = urllib.request.ProxyHandler({})  # no proxy that the environment names
    urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context)).open(url, timeout=WITHIN_S)


if __name__ == "__main__":
    ask()

"""Tell people how a retraining went, over whatever APPRISE_URLS names (mail, chat, webhooks); never fails a run."""

from __future__ import annotations

import os
import sys


def notify(title: str, body: str) -> bool:
    """Send to every URL of APPRISE_URLS (blank-separated, as apprise's own command reads it); False if one failed."""
    urls = os.environ.get("APPRISE_URLS", "").split()
    if not urls:
        return True
    try:
        from apprise import Apprise

        sender = Apprise()
        known = [sender.add(url) for url in urls]
        sent = bool(sender.notify(body=body, title=title)) and all(known)
    except Exception as error:  # a webhook must not cost a night of training
        print(f"warning: no notification sent: {type(error).__name__}", file=sys.stderr)
        return False
    if not sent:  # the URLs hold tokens: they are not shown
        print(f"warning: not every one of {len(urls)} notifications was delivered", file=sys.stderr)
    return sent

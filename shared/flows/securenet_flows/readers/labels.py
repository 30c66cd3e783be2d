"""The sources' own words for "this was an attack", to the three that a batch holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WORDS: Final[Mapping[str, str]] = {
    "malicious": "malicious",
    "malware": "malicious",
    "attack": "malicious",
    "botnet": "malicious",
    "anomaly": "malicious",
    "1": "malicious",
    "benign": "benign",
    "normal": "benign",
    "legitimate": "benign",
    "0": "benign",
    "background": "unknown",
    "unknown": "unknown",
}


def plain_label(word: str) -> str | None:
    """Label columns that hold one word (Zeek's netflowlabeler, IoT-23, UNSW-NB15); None for a word that is no label."""
    return _WORDS.get(word.strip().lower())


def argus_label(word: str) -> str | None:
    """Argus labels such as ``flow=From-Botnet-V42-TCP-Established`` or ``flow=Background-UDP-Attempt`` (CTU-13)."""
    text = word.strip().lower().removeprefix("flow=")
    if "botnet" in text or "malicious" in text or "malware" in text:
        return "malicious"
    if text.startswith(("background", "to-background", "from-background", "unknown")):
        return "unknown"
    if "normal" in text or "benign" in text:
        return "benign"
    return plain_label(text)


def class_label(word: str) -> str | None:
    """CICFlowMeter labels: BENIGN, or the name of an attack.

    The corrected CIC-IDS2017 marks flows of an attack tool that carried no attack "… - Attempted" (Liu et al., CNS
    2022); what they are is disputed, so they are `unknown`. So is the meter's own "NeedManualLabel" (no label given).
    """
    text = word.strip().lower()
    if text in {"", "needmanuallabel", "no label", "nolabel"}:
        return None
    if text.endswith("attempted"):
        return "unknown"
    return _WORDS.get(text, "malicious")

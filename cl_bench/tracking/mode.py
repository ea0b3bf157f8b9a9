"""Where runs are sent: the choice that the command line and the sink share."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Where runs are sent on Weights & Biases."""

    AUTO = "auto"
    """What WANDB_MODE says, else online where W&B knows an API key, else offline."""
    ONLINE = "online"
    """To the server; to offline files where that fails."""
    OFFLINE = "offline"
    """To files that can be sent later."""
    DISABLED = "disabled"
    """Nowhere."""

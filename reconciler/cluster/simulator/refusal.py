"""What the pretend Nomad says when it will not (pure)."""


class Refusal(Exception):
    """An answer other than success: the HTTP status and the text that a real Nomad gives."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


def not_found(what: str) -> Refusal:
    """Say that there is no such job, allocation, evaluation, deployment or node."""
    return Refusal(404, f"{what} not found")

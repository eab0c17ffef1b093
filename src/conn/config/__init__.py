"""The configuration: one frozen model, and the reader that names every mistake."""

from conn.config.load import load
from conn.config.model import Config

__all__ = ["Config", "load"]

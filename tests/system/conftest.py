"""What these tests share: a state directory prepared once for a run, copied for each of them."""

from tests.support.prepared_fixtures import filled, prepared, settings, site

__all__ = ["filled", "prepared", "settings", "site"]

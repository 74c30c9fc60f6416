"""What the tests of the refresh share: servers on loopback."""

from __future__ import annotations

from install.conftest import index as index
from refresh.site import site as site

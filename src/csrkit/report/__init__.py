"""What an evaluation found, and how it is shown: types, table, plot, page.

`csrkit.evaluate` makes a `Report`; this package measures nothing.
"""

from csrkit.report.types import Filtered, Machine, Report, Row

__all__ = ["Filtered", "Machine", "Report", "Row"]

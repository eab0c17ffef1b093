"""The report of a study: one self-contained page, its figures as files, and the methods text."""

from conn.report.build import ReportFiles, build_report

__all__ = ["ReportFiles", "build_report"]

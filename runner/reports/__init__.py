"""Writes what a comparison or a run says as Markdown and as a page."""

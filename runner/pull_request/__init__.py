"""Does what continuous integration does for a pull request, and posts the report."""

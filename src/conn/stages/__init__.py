"""The stages of the line: each reads files of earlier stages, calls the core, writes its own files."""

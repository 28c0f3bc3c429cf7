"""``python -m jackfield``, the same as ``jackfield``."""

from .cli import main

main(prog_name="jackfield")

"""The protocol and what is as pure: no I/O, no clock, no process."""

"""AWS on one machine without Docker: MiniStack, with what it lacks filled in.

README.md says what it does and where it ends. Tests need `launch` only; every other module runs inside the
emulator's own process and environment.
"""

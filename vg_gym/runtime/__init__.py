"""Use of the machine: devices, threads, lazy imports, interrupts, runners of independent tasks."""

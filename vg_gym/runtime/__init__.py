"""What a process runs on: devices, threads, lazy imports, interrupts, runners of independent tasks."""

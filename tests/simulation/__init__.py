"""The whole system on a virtual clock: seeded histories with faults, judged by oracles."""

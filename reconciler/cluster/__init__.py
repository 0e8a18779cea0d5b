"""Where it runs: one narrow protocol, a real Nomad and a simulated one behind it."""

"""How two measurements are judged: policy, evidence, verdict, noise, and what CI is told."""

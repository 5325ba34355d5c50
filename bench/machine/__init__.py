"""The machine: devices, clocks, sensors, processes. Nothing else in `bench` imports torch."""

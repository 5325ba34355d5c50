"""Commands that print what the vendor's sensors say; the sensors are in bench/machine/sensors."""

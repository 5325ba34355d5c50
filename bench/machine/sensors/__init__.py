"""Where power, temperature and clocks are read, a module a source."""

"""Training, simulation and evaluation of gliomart's models; never imported by the runtime."""

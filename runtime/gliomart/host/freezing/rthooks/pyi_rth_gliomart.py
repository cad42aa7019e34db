"""Run before a frozen program's own code: it may have been started as one of ours."""

from gliomart.host.frozen import freeze_support

freeze_support()

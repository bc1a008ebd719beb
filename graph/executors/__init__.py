"""Where trials run: elsewhere than on this machine."""

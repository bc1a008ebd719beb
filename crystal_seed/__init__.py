"""What do they edit? A seed folder: `task.toml`, `train.py`, `brief.md`, `playbook/`. It is data; nobody imports it."""

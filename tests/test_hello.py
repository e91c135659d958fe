"""README's hello world, as printed, against an OpenAI-compatible server over real HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from servers import ScriptedServer, say

README = Path(__file__).parent.parent / "README.md"
PLAN = {
    "steps": [
        {"id": name, "tool": "unit_price", "args": {"supplier": name.capitalize()}} for name in ("acme", "bolt", "core")
    ]
    + [
        {
            "id": "cheapest",
            "goal": "Name the supplier with the lowest price.",
            "args": {name: {"$ref": name} for name in ("acme", "bolt", "core")},
        }
    ],
    "output": {"$ref": "cheapest"},
}


def test_the_hello_world_works_as_printed(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None

    def script(request: dict[str, Any]) -> Any:
        planning = "Which supplier is cheapest for 40 units" in str(request["messages"][-1]["content"])
        return say(json.dumps(PLAN) if planning else "Bolt")

    with ScriptedServer(script) as server:
        environment = {**os.environ, "SUREFOOT_BASE_URL": server.url, "OPENAI_API_KEY": "none-needed"}
        done = subprocess.run(
            [sys.executable, "-c", code[1] + "\nmain()"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=110,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("agreed Bolt 0.99")
    assert "acme committed 2.5" in done.stdout

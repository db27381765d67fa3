"""Steps of Open edX filters, as a plugin has them."""

from __future__ import annotations

from typing import Any

from openedx_filters import PipelineStep


class NamedActor(PipelineStep):
    """Puts a name on the actor that ERB made."""

    def run_filter(self, transformer: Any, result: Any) -> dict[str, Any]:
        result.name = f"by {transformer.get_data('name')}"
        return {"result": result}


class OtherObject(PipelineStep):
    """Changes the object's id."""

    def run_filter(self, transformer: Any, result: Any) -> dict[str, Any]:
        result.id = f"{result.id}#filtered"
        return {"result": result}

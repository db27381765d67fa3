"""Steps of Open edX filters, as a plugin has them."""

from __future__ import annotations

from typing import Any, ClassVar

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


class Recorder(PipelineStep):
    """Writes elsewhere: what a step does must not happen twice."""

    runs: ClassVar[list[str]] = []

    def run_filter(self, transformer: Any, result: Any) -> dict[str, Any]:
        self.runs.append(transformer.get_data("name"))
        return {"result": result}


class Failing(Recorder):
    """Does what it does, then fails."""

    def run_filter(self, transformer: Any, result: Any) -> dict[str, Any]:
        super().run_filter(transformer, result)
        raise RuntimeError("the step's own error")

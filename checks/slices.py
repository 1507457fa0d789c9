"""A contract of the import rules: a slice is private, but for its tables.

It finds the slices itself, so that a new one is held to the rule without a line in
``pyproject.toml``.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class SlicesContract(Contract):
    """Private modules of a slice are imported by the slice alone, and by ``allowed_importers``.

    A slice is each package of ``container`` that has a module ``endpoints``.
    """

    type_name = "slices"

    container = fields.StringField()
    private = fields.ListField(subfield=fields.StringField())
    allowed_importers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001
        """Find the imports that break the rule."""
        found = []
        for package in sorted(graph.find_children(str(self.container))):
            if f"{package}.endpoints" not in graph.modules:
                continue
            allowed = (package, *self.allowed_importers)  # type: ignore[misc]  # a descriptor
            for name in self.private:  # type: ignore[attr-defined]  # the same
                module = f"{package}.{name}"
                if module not in graph.modules:
                    continue
                found += [
                    (importer, module)
                    for importer in sorted(graph.find_modules_that_directly_import(module))
                    if not any(f"{importer}.".startswith(f"{own}.") for own in allowed)
                ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import, with what to do."""
        for importer, module in check.metadata["found"]:
            output.print_error(f"- {importer} imports {module}: join its tables instead")

from stack.text_table import text_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("TargetDown", 2, "page"), ("Slow", 1_000, "ticket")]
    assert text_table(rows, ("alert", "fired", "severity"), right={1}).splitlines() == [
        "alert       fired  severity",
        "TargetDown      2  page",
        "Slow         1000  ticket",
    ]


def test_cells_are_neither_wrapped_nor_interpreted() -> None:
    address = "http://127.0.0.1/" + "x" * 200
    assert text_table([("[red]", ":smile:", address)]) == f"[red]  :smile:  {address}"
    assert not text_table([])

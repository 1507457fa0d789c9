import gc
from functools import cache, lru_cache

from tests.vitals.cache_probes.measured import application, layers, lookups
from vitals import watch


def test_a_cached_function_reports_what_it_counts_itself() -> None:
    @watch(cache="doubles")
    @lru_cache
    def double(number: int) -> int:
        return 2 * number

    app = application()
    for number in (1, 1, 2):
        double(number)
    assert lookups(app, "doubles") == {"hit": 1, "miss": 2}
    assert layers(app, "doubles") == {"l1"}
    double(2)
    assert lookups(app, "doubles") == {"hit": 2, "miss": 2}, "the difference is added"


def test_counts_go_on_after_the_cache_is_cleared() -> None:
    @watch(cache="triples")
    @cache
    def triple(number: int) -> int:
        return 3 * number

    app = application()
    for number in (1, 1, 2):
        triple(number)
    assert lookups(app, "triples") == {"hit": 1, "miss": 2}
    triple.cache_clear()
    triple(1)
    assert lookups(app, "triples") == {"hit": 1, "miss": 3}


def test_a_function_that_is_gone_is_forgotten() -> None:
    app = application()

    def make() -> None:
        @watch(cache="short-lived")
        @lru_cache
        def square(number: int) -> int:
            return number * number

        square(3)
        assert lookups(app, "short-lived") == {"miss": 1}

    make()
    gc.collect()
    assert lookups(app, "short-lived") == {"miss": 1}


def test_the_name_is_the_functions_by_default() -> None:
    @lru_cache
    def quadruple(number: int) -> int:
        return 4 * number

    app = application()
    assert watch(quadruple) is quadruple
    quadruple(1)
    name = "test_the_name_is_the_functions_by_default.quadruple"
    assert lookups(app, name) == {"miss": 1}

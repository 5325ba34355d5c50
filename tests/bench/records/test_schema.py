from bench import schema as program
from bench.records import schema
from bench.records.record import Record
from tests.support import ROOT
from tests.support.records import make_record


def test_the_page_is_current():
    """`python -m bench.schema > results/README.md` makes it so."""
    assert (ROOT / "results" / "README.md").read_text(encoding="utf8") == program.schema_page()


def test_every_field_of_every_section_has_a_meaning():
    assert set(schema.TOP) == set(Record.__dataclass_fields__) - {"altered"}
    for section, fields in schema.SECTIONS.items():
        assert all(one.field.meaning for one in fields.values()), section


def test_every_field_of_a_record_is_declared():
    assert list(schema.undeclared(make_record(cards=2).body())) == []


def test_a_field_that_is_not_declared_is_found():
    body = make_record().body()
    body["cell"]["colour"] = body["latency"][0]["colour"] = "red"
    body["options"]["anything"] = 1
    assert set(schema.undeclared(body)) == {"cell.colour", "latency[].colour"}


def test_a_value_of_another_kind_is_found():
    body = make_record(cards=2).body()
    assert list(schema.mistyped(body)) == []
    body["cell"]["cards"], body["throughput"]["slowest_rank"], body["latency"][0]["seconds"] = "2", 0.5, 1.0
    assert {fault.partition(" is ")[0] for fault in schema.mistyped(body)} == {
        "cell.cards", "throughput.slowest_rank", "latency[].seconds",
    }  # fmt: skip


def test_units_are_those_of_the_names():
    units = {name: one.unit for fields in schema.SECTIONS.values() for name, one in fields.items()}
    assert units["step_p50_ms"] == "ms"
    assert units["images_per_s_core"] == "images/s"
    assert units["slope_share_per_min"] == "share/min"
    assert units["gemm_flops_per_s_per_card"] == "FLOP/s"
    assert units["measured_steps"] == ""

from bench import schema as program
from bench.records import schema
from bench.records.record import Record
from tests.support import ROOT
from tests.support.records import make_record


def test_the_page_is_current():
    """`python -m bench.schema > results/README.md` makes it so."""
    assert (ROOT / "results" / "README.md").read_text(encoding="utf8") == program.markdown()


def test_every_section_of_a_record_is_described():
    fields = {name for name in Record.__dataclass_fields__ if name != "altered"}
    top = {name.removesuffix("[]") for name in schema.FIELDS[""]}
    assert fields == (schema.SECTIONS - {"", "seal"}) | top


def test_every_field_of_a_record_is_described():
    assert schema.unknown(make_record(cards=2).body()) == set()


def test_a_field_nobody_described_is_found():
    body = make_record().body()
    body["cell"]["colour"] = body["latency"][0]["colour"] = "red"
    body["options"]["anything"] = 1
    assert schema.unknown(body) == {"cell.colour", "latency[].colour"}

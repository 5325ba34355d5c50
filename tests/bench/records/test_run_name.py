import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.records.run_name import DEVICES, PRECISIONS, RunName

SPELLED = {
    "CRNN_FP32_30E_4MLUs_Train": RunName("CRNN", "Train", "FP32", "MLU", 4, epochs=30),
    "CRNN_VARIABLE_AMP_600S_1CPU_Train": RunName("CRNN_VARIABLE", "Train", "AMP", "CPU", 1, steps=600),
    "DENSENET121_INT8_1GPU_Infer": RunName("DENSENET121", "Infer", "INT8", "GPU", 1),
    "CRNN_Infer": RunName("CRNN", "Infer"),
}


@pytest.mark.parametrize(("name", "run"), SPELLED.items())
def test_a_name_is_its_coordinates(name, run):
    assert RunName.parse(name) == run
    assert str(run) == name


@given(
    st.builds(
        RunName,
        model=st.sampled_from(["CRNN", "CRNN_VARIABLE", "DENSENET121", "SEQ2SEQ_ATTENTION"]),
        task=st.sampled_from(["Train", "Infer"]),
        precision=st.sampled_from(PRECISIONS),
        device=st.sampled_from(DEVICES),
        cards=st.integers(1, 1024),
        epochs=st.one_of(st.none(), st.integers(1, 10**6)),
    )
)
def test_every_name_reads_back(run):
    assert RunName.parse(str(run)) == run


@pytest.mark.parametrize(
    "name",
    [
        "CRNN_FP8_1CPU_Infer",
        "crnn_Infer",
        "CRNN_FP32_0CPU_Infer",
        "CRNN_FP32_Train",
        "CRNN_FP32_1TPU_Train",
        "",
        "CRNN",
    ],
)
def test_what_is_no_run_name_is_refused_by_name(name):
    with pytest.raises(UserError, match="is not a run name"):
        RunName.parse(name)

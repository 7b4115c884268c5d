"""Models between a base and a trained one, weight by weight."""

import pytest
import torch
from between import main, write_between

from iapo.policy import load_model


def test_each_weight_lies_on_the_line(tmp_path) -> None:
    base, tokenizer = load_model("embedded")
    trained, _ = load_model("embedded")
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(torch.randn_like(weight))
    trained.save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    main(["embedded", str(tmp_path / "trained"), "--shares", "0", "0.25", "1", "--output", str(tmp_path / "between")])
    for share in (0.0, 0.25, 1.0):
        model, between = load_model(str(tmp_path / "between" / f"{share:g}"))
        assert between("1+2=").input_ids == tokenizer("1+2=").input_ids
        for name, value in model.state_dict().items():
            expected = (1 - share) * base.state_dict()[name].double() + share * trained.state_dict()[name].double()
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)


def test_what_cannot_be_mixed_is_refused(tmp_path, text_model) -> None:
    with pytest.raises(ValueError, match=r"shares: got 1\.5, want 0"):
        write_between("embedded", "embedded", [1.5], tmp_path)
    with pytest.raises(ValueError, match="trained: the parameters of"):
        write_between("embedded", str(text_model), [0.5], tmp_path)
    assert not list(tmp_path.iterdir())

"""Weights of earlier versions, whose modules had other names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

RULES = "renamed_tensors"  # attribute of a module that renames


def rename_on_load(module: nn.Module, rules: dict[str, str | None]) -> None:
    """Let `load_state_dict` rename the module's tensors by the first pattern that matches; None drops a tensor."""
    setattr(module, RULES, rules)
    module.register_load_state_dict_pre_hook(lambda _, state, prefix, *__: _rename(state, prefix, rules))


def renamed(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that `load_state_dict` would give them."""
    state = dict(tensors)
    for name, module in model.named_modules():  # outer ones first, as `load_state_dict` goes
        if hasattr(module, RULES):
            _rename(state, f"{name}." if name else "", getattr(module, RULES))
    return state


def _rename(state: dict[str, Tensor], prefix: str, rules: dict[str, str | None]) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        inner = name.removeprefix(prefix)
        rule = next((rule for rule in rules if re.match(rule, inner)), None)
        if rule is not None:
            tensor, new = state.pop(name), rules[rule]
            if new is not None:
                state[prefix + re.sub(rule, new, inner, count=1)] = tensor

"""Weights of earlier versions, whose modules had other names."""

from __future__ import annotations

import re

from torch import Tensor, nn


def rename_on_load(module: nn.Module, rules: dict[str, str | None]) -> None:
    """Let `load_state_dict` rename the module's tensors by the first pattern that matches; None drops a tensor."""

    def rename(_: nn.Module, state: dict[str, Tensor], prefix: str, *__) -> None:
        for name in [name for name in state if name.startswith(prefix)]:
            inner = name.removeprefix(prefix)
            rule = next((rule for rule in rules if re.match(rule, inner)), None)
            if rule is not None:
                tensor, new = state.pop(name), rules[rule]
                if new is not None:
                    state[prefix + re.sub(rule, new, inner, count=1)] = tensor

    module.register_load_state_dict_pre_hook(rename)

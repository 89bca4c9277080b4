// Do the kernels give right numbers on this device?
#pragma once

#include <functional>
#include <string>

#include "kernels/matmul.hpp"
#include "kernels/token.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::rwkv7 {

/// Runs a miniature of a model in steps that meet every kernel of a step, and compares logits, draws and states with
/// the CPU oracles; those of one token run as `token` says. Returns what is wrong, "" if nothing is; throws what the
/// device throws. `check_cancelled` is called between steps.
std::string self_test(gpu::Device& device, const ModelSource& like, kernels::MatMulMode mode, kernels::TokenUse token,
                      const std::function<void()>& check_cancelled);

}  // namespace ravenwing::rwkv7

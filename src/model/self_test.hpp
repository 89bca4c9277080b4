// Do the kernels give right numbers on this device?
#pragma once

#include <functional>
#include <string>

#include "kernels/matmul.hpp"
#include "kernels/token.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::rwkv7 {

/// Which kernels are tested.
struct SelfTestSubject {
  kernels::MatMulMode mode = kernels::MatMulMode::fast;
  kernels::TokenUse token = kernels::TokenUse::none;  // how steps of one token run
  StateStorage states = StateStorage::f32;
};

/// Runs a miniature of a model in steps that meet every kernel of a step, and compares logits, draws and states with
/// the CPU oracles. Returns what is wrong, "" if nothing is; throws what the device throws. `check_cancelled` is called
/// between steps.
std::string self_test(gpu::Device& device, const ModelSource& like, const SelfTestSubject& subject,
                      const std::function<void()>& check_cancelled);

}  // namespace ravenwing::rwkv7

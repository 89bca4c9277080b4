// Turning requests into steps.
#pragma once

#include <span>
#include <vector>

#include "engine/engine_impl.hpp"

namespace ravenwing {

struct ScheduledRequest {
  Session::Impl* session = nullptr;
  std::vector<uint32_t> ids;
  const GenerateOptions* options = nullptr;
};

/// Runs all requests to their ends. There is no prefill phase and no decode phase: every step takes one token of each
/// request that generates, and fills up with what is left of prompts, in the order of the requests.
std::vector<Completion> run_requests(Engine::Impl& engine, std::span<const ScheduledRequest> requests);

}  // namespace ravenwing

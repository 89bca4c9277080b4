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
/// request that generates, and fills up with what is left of prompts, in the order of the requests. Up to
/// kStepsInFlight steps are submitted before the first of them is looked at; one, while a request needs the CPU between
/// its draws. If it throws, each session stands after the ids that were drawn for it by then.
std::vector<Completion> run_requests(Engine::Impl& engine, std::span<const ScheduledRequest> requests);

}  // namespace ravenwing

// What a device can do at best: the measure of all other kernels.
#pragma once

#include "gpu/plan.hpp"
#include "ravenwing/profile.hpp"

namespace ravenwing::kernels {

/// Measures with kernels that do one thing each, and checks what they computed: throws Error{unsupported} where that is
/// wrong. Takes some 100 ms of a GPU once they are compiled, and for a while 1 GiB of its memory, or what there is; at
/// least 16 MiB, else Error{out_of_memory}.
MeasuredLimits measure_limits(gpu::PipelineCache& pipelines);

/// Fills a storage buffer with a pattern of words of which the bits of `mask` stay, by the GPU (fill.wgsl).
void fill(gpu::Recorder& recorder, const gpu::BufferView& view, uint32_t mask);

}  // namespace ravenwing::kernels

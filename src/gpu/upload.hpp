// Getting many bytes to the GPU: a ring of mapped staging buffers that threads fill while earlier ones are copied.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "gpu/device.hpp"

namespace ravenwing::gpu {

/// Threads that run jobs in the order in which they came.
class Workers {
 public:
  explicit Workers(uint32_t n_threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void add(std::function<void()> job);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Brings bytes to the GPU, in the order of the calls. WebGPU is used by the calling thread alone.
class UploadRing {
 public:
  /// The most that one call takes.
  static constexpr uint64_t kPieceBytesMax = 64 << 20;

  /// Writes bytes on another thread, to zeroed or earlier written memory. What it refers to must live until finish();
  /// what it throws is thrown by a later call.
  using Fill = std::function<void(std::byte* to)>;
  /// Records what is to be done with bytes on the GPU. They lie where a binding can begin, until its commands have run.
  using Use = std::function<void(const wgpu::ComputePassEncoder& pass, const BufferView& bytes)>;

  /// `total`: bytes expected in all; a small upload gets a small ring. `while_waiting` is called now and then while a
  /// call waits for a `fill`; what it throws ends that call.
  UploadRing(Device& device, uint64_t total, std::function<void()> while_waiting = {});
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;

  /// Copies `bytes` bytes to `target` at `offset`; both multiples of 4.
  void copy(const Buffer& target, uint64_t offset, uint64_t bytes, Fill fill);
  /// Brings bytes to working memory on the GPU for `use`.
  void process(uint64_t bytes, Fill fill, Use use);
  /// Hands all to the GPU's queue: what is submitted afterwards finds it there.
  void hand_over();
  /// Waits until all is on the GPU.
  void finish();
  /// Bytes handed to the GPU so far.
  uint64_t bytes_done() const { return done_; }

 private:
  /// A stretch of a staging buffer, and where it goes: to a target, or to `use` if that is given.
  struct Piece {
    uint64_t begin, size;
    wgpu::Buffer target;
    uint64_t offset;
    Use use;
  };
  /// A staging buffer, open where it has pieces.
  struct Slot {
    Buffer staging;
    std::byte* mapped = nullptr;
    wgpu::Future mapping{};
    std::vector<Piece> pieces;
    uint64_t size = 0;    // filled or being filled
    uint32_t n_jobs = 0;  // not done yet; under mutex_
  };

  void add(Piece piece, Fill fill);
  void open(Slot& slot, uint64_t bytes_min);
  bool is_filled(Slot& slot);
  void wait_for_jobs(Slot& slot);
  void flush(Slot& slot);
  void encode_uses(const wgpu::CommandEncoder& encoder, const Slot& slot);
  void go_on();

  Device& device_;
  uint64_t slot_bytes_;
  std::function<void()> while_waiting_;
  std::vector<Slot> slots_;
  Buffer working_;  // what pieces for a `use` are copied to
  size_t current_ = 0;
  uint64_t done_ = 0;
  std::mutex mutex_;
  std::condition_variable job_done_;
  std::exception_ptr failure_;  // the first of a job; under mutex_
  Workers workers_;             // last: ends before what its jobs write to
};

}  // namespace ravenwing::gpu

// src/gpu/upload.cpp
#include "gpu/upload.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/bytes.hpp"

namespace ravenwing::gpu {
namespace {

constexpr uint32_t kSlots = 6;
constexpr uint32_t kThreadsMax = 4;             // more do not help: the bus is full
constexpr std::chrono::milliseconds kPoll{50};  // what a cancelled upload may take to notice
constexpr uint64_t kSlotBytesMax = 24 << 20, kSlotBytesMin = 1 << 20;

}  // namespace

Workers::Workers(uint32_t n_threads) {
  for (uint32_t i = 0; i < n_threads; ++i) threads_.emplace_back([this] { run(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::add(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Workers::run() {
  while (true) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

UploadRing::UploadRing(Device& device, uint64_t total, std::function<void()> while_waiting)
    : device_(device),
      slot_bytes_(round_up(std::clamp(total / kSlots, kSlotBytesMin, kSlotBytesMax), 4)),
      while_waiting_(std::move(while_waiting)),
      slots_(kSlots),
      workers_(std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax)) {}

UploadRing::~UploadRing() = default;

void UploadRing::copy(const Buffer& target, uint64_t offset, uint64_t bytes, Fill fill) {
  RAVENWING_CHECK(offset % 4 == 0 && bytes % 4 == 0 && offset + bytes <= target.size());
  add({0, bytes, target.handle(), offset, {}}, std::move(fill));
}

void UploadRing::process(uint64_t bytes, Fill fill, Use use) {
  add({0, bytes, {}, 0, std::move(use)}, std::move(fill));
}

void UploadRing::add(Piece piece, Fill fill) {
  RAVENWING_CHECK(piece.size <= kPieceBytesMax);
  if (piece.size == 0) return;
  Slot* slot = &slots_[current_];
  piece.begin = round_up(slot->size, piece.use ? device_.limits().binding_alignment : 4);
  if (slot->pieces.empty() || piece.begin + piece.size > slot->staging.size()) {
    if (!slot->pieces.empty()) go_on();
    slot = &slots_[current_];
    open(*slot, round_up(piece.size, 4));
    piece.begin = 0;
  }
  std::byte* const to = slot->mapped + piece.begin;
  slot->size = round_up(piece.begin + piece.size, 4);
  slot->pieces.push_back(std::move(piece));
  {
    const std::lock_guard lock(mutex_);
    ++slot->n_jobs;
  }
  workers_.add([this, slot, to, fill = std::move(fill)] {
    std::exception_ptr failure;
    try {
      fill(to);
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    if (failure && !failure_) failure_ = failure;
    --slot->n_jobs;
    job_done_.notify_all();
  });
}

void UploadRing::open(Slot& slot, uint64_t bytes_min) {
  if (!slot.staging || slot.staging.size() < bytes_min) {
    wgpu::BufferUsage usage = wgpu::BufferUsage::MapWrite | wgpu::BufferUsage::CopySrc;
    slot.staging = device_.create_buffer(std::max(slot_bytes_, bytes_min), usage, Account::staging, "upload");
    slot.mapping =
        slot.staging.handle().MapAsync(wgpu::MapMode::Write, 0, slot.staging.size(), wgpu::CallbackMode::WaitAnyOnly,
                                       [](wgpu::MapAsyncStatus, wgpu::StringView) {});
  }
  device_.wait(slot.mapping);
  device_.check();
  slot.mapped = static_cast<std::byte*>(slot.staging.handle().GetMappedRange());
  if (slot.mapped == nullptr) fail(ErrorCode::out_of_memory, "[device] no staging memory could be mapped");
  slot.size = 0;
}

void UploadRing::hand_over() {
  for (size_t i = 0; i < slots_.size(); ++i) go_on();
}

void UploadRing::finish() {
  hand_over();
  device_.wait_idle();
}

void UploadRing::wait_for_jobs(Slot& slot) {
  std::unique_lock lock(mutex_);
  while (!job_done_.wait_for(lock, kPoll, [&] { return slot.n_jobs == 0 || failure_; })) {
    lock.unlock();
    if (while_waiting_) while_waiting_();
    lock.lock();
  }
  if (failure_) std::rethrow_exception(failure_);
}

void UploadRing::flush(Slot& slot) {
  if (slot.pieces.empty()) return;
  wait_for_jobs(slot);
  slot.staging.handle().Unmap();
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  encode_uses(encoder, slot);
  for (size_t i = 0; i < slot.pieces.size();) {
    const Piece& first = slot.pieces[i];
    // Neighbours here and there go in one command.
    uint64_t size = first.size;
    for (++i; i < slot.pieces.size() && slot.pieces[i].target.Get() == first.target.Get() &&
              slot.pieces[i].begin == first.begin + size && slot.pieces[i].offset == first.offset + size;
         ++i)
      size += slot.pieces[i].size;
    if (!first.use) encoder.CopyBufferToBuffer(slot.staging.handle(), first.begin, first.target, first.offset, size);
  }
  device_.submit(encoder.Finish());
  slot.mapping =
      slot.staging.handle().MapAsync(wgpu::MapMode::Write, 0, slot.staging.size(), wgpu::CallbackMode::WaitAnyOnly,
                                     [](wgpu::MapAsyncStatus, wgpu::StringView) {});
  done_ += slot.size;
  slot.pieces.clear();
}

void UploadRing::encode_uses(const wgpu::CommandEncoder& encoder, const Slot& slot) {
  const auto has_use = [](const Piece& piece) { return bool(piece.use); };
  if (std::none_of(slot.pieces.begin(), slot.pieces.end(), has_use)) return;
  if (!working_ || working_.size() < slot.size)
    working_ = device_.create_storage(std::max(slot.size, slot_bytes_), Account::staging, "upload");
  encoder.CopyBufferToBuffer(slot.staging.handle(), 0, working_.handle(), 0, slot.size);
  const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
  for (const Piece& piece : slot.pieces) {
    if (piece.use) piece.use(pass, {working_, piece.begin, piece.size});
  }
  pass.End();
}

bool UploadRing::is_filled(Slot& slot) {
  const std::lock_guard lock(mutex_);
  return slot.n_jobs == 0 && !failure_;
}

/// Goes on to the next slot, whose bytes must be handed over now, and hands over what else is ready, oldest first.
void UploadRing::go_on() {
  current_ = (current_ + 1) % slots_.size();
  flush(slots_[current_]);
  for (size_t i = 1; i < slots_.size(); ++i) {
    Slot& slot = slots_[(current_ + i) % slots_.size()];
    if (slot.pieces.empty()) continue;
    if (!is_filled(slot)) break;
    flush(slot);
  }
}

}  // namespace ravenwing::gpu

#include "block/uring_disk.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "block/pool_disk.hpp"
#include "block/raw.hpp"
#include "host/thread.hpp"

namespace nagaya::block {
namespace {

constexpr unsigned ring_entries = 256;
constexpr std::size_t max_vectors = 1024;  // IOV_MAX
constexpr std::array<u8, 4> operations = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_NOP};
constexpr int the_file = 0;  // its place among the registered files

// Requests that the ring does well (one transfer, fdatasync) go through it; the rest, and what comes back short, go to
// a few threads. Completions are read by one thread, which sleeps in the kernel when there are none.
class UringDisk final : public Disk {
 public:
  explicit UringDisk(std::unique_ptr<Image> image) : image_(static_cast<RawImage*>(image.get())), owner_(std::move(image)) {}

  Result<> start() {
    io_uring_params how{};
    how.flags = IORING_SETUP_R_DISABLED;
    const int error = io_uring_queue_init_params(ring_entries, &ring_, &how);
    if (error < 0) return fail_errno("cannot use io_uring", -error, "the host forbids it; threads do as well");
    started_ = true;
    // Hosts may allow a ring, but not each operation.
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    bool able = probe != nullptr;
    for (const int op : operations) {
      able = able && io_uring_opcode_supported(probe, op);
    }
    if (probe != nullptr) io_uring_free_probe(probe);
    if (!able) return fail("cannot use io_uring", "the kernel lacks an operation");
    TRY(restrict());
    reaper_ = host::start_thread("disk-ring", [this] { reap(); });
    helpers_ = true;
    for (int i = 0; i < 2; ++i) workers_.push_back(host::start_thread("disk", [this] { work(); }));
    return {};
  }

  /// Gives the image back after a start that failed.
  std::unique_ptr<Image> give_back() { return std::move(owner_); }

  ~UringDisk() override {
    if (helpers_) {
      (void)close();
      {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);  // there is room: nothing is in flight
        io_uring_prep_nop(entry);
        io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
        io_uring_sqe_set_data(entry, nullptr);
        io_uring_submit(&ring_);
      }
      wake_.notify_all();
      reaper_.join();
      workers_.clear();
    }
    if (started_) io_uring_queue_exit(&ring_);
  }

  u64 size() const override { return image_->size(); }
  Capabilities capabilities() const override { return image_->capabilities(); }
  u64 host_space() const override { return image_->host_space(); }

  void submit(Request request) override {
    const int error = request_error(request, size(), capabilities());
    bool at_once = false;
    if (const std::shared_lock gate(gate_, std::try_to_lock); gate && !closed_) at_once = served_at_once(*image_, request);
    if (at_once) {
      if (request.done) request.done(0);
      return;
    }
    std::unique_lock lock(mutex_);
    if (error != 0 || closed_) {
      lock.unlock();
      if (request.done) request.done(error != 0 ? error : ESHUTDOWN);
      return;
    }
    ++in_flight_;
    waiting_.push_back(std::move(request));
    pump();
  }

  Result<> resize(u64 size) override {
    const std::unique_lock gate(gate_);
    std::unique_lock lock(mutex_);
    quiet_.wait(lock, [this] { return in_flight_ == 0; });
    return image_->resize(size);
  }

  void drain() override {
    std::unique_lock lock(mutex_);
    quiet_.wait(lock, [this] { return in_flight_ == 0; });
  }

  Result<> close() override {
    {
      std::unique_lock lock(mutex_);
      if (closed_.exchange(true)) return {};
      quiet_.wait(lock, [this] { return in_flight_ == 0; });
    }
    const std::unique_lock gate(gate_);
    return image_->close();
  }

 private:
  /// From here on the ring reads and writes this one file and does nothing else, whoever has taken over the process.
  Result<> restrict() {
    const int fd = image_->file().fd();
    if (const int error = io_uring_register_files(&ring_, &fd, 1); error < 0) return fail_errno("cannot use io_uring", -error);
    std::array<io_uring_restriction, operations.size() + 1> rules{};
    for (std::size_t i = 0; i < operations.size(); ++i) {
      rules[i].opcode = IORING_RESTRICTION_SQE_OP;
      rules[i].sqe_op = operations[i];
    }
    rules.back().opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    rules.back().sqe_flags = IOSQE_FIXED_FILE;
    // The library of Debian 12 has these two in its header only.
    const auto tell_kernel = [this](unsigned what, const void* argument, std::size_t count) {
      return ::syscall(SYS_io_uring_register, ring_.ring_fd, what, argument, count) == 0;
    };
    if (!tell_kernel(IORING_REGISTER_RESTRICTIONS, rules.data(), rules.size())) return fail_errno("cannot restrict io_uring");
    if (!tell_kernel(IORING_REGISTER_ENABLE_RINGS, nullptr, 0)) return fail_errno("cannot use io_uring");
    return {};
  }

  static bool suits_ring(const Request& r) {
    if (r.op == Op::flush) return true;
    return (r.op == Op::read || (r.op == Op::write && !r.fua)) && r.buffers.size() <= max_vectors && r.length != 0;
  }

  // Moves waiting requests on; the lock is held.
  void pump() {
    bool any = false;
    while (!waiting_.empty()) {
      if (!suits_ring(waiting_.front()) || (waiting_.front().op == Op::flush && image_->capabilities().read_only)) {
        slow_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        wake_.notify_one();
        continue;
      }
      if (in_ring_ >= ring_entries) break;
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) break;
      auto* request = new Request(std::move(waiting_.front()));
      waiting_.pop_front();
      const auto count = static_cast<unsigned>(request->buffers.size());
      switch (request->op) {
        case Op::read: io_uring_prep_readv(entry, the_file, request->buffers.data(), count, request->offset); break;
        case Op::write: io_uring_prep_writev(entry, the_file, request->buffers.data(), count, request->offset); break;
        default: io_uring_prep_fsync(entry, the_file, IORING_FSYNC_DATASYNC); break;
      }
      io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
      io_uring_sqe_set_data(entry, request);
      ++in_ring_;
      any = true;
    }
    // What the kernel does not take now (EAGAIN, EBUSY) stays in the ring, and goes with the next submission.
    if (any || io_uring_sq_ready(&ring_) != 0) io_uring_submit(&ring_);
  }

  void reap() {
    while (true) {
      io_uring_cqe* entry = nullptr;
      if (io_uring_wait_cqe(&ring_, &entry) < 0) continue;  // EINTR
      std::unique_ptr<Request> request(static_cast<Request*>(io_uring_cqe_get_data(entry)));
      const int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      if (!request) return;  // the destructor's
      bool again = result == -EINTR || result == -EAGAIN || result == -EOPNOTSUPP;
      {
        // The request came here through the kernel; the lock is what orders its making before its use.
        const std::lock_guard lock(mutex_);
        again = again || (request->op != Op::flush && result >= 0 && static_cast<u64>(result) != request->length);
        --in_ring_;
        if (again) {  // a short transfer or an interruption: a thread does the whole, patiently
          slow_.push_back(std::move(*request));
          wake_.notify_one();
        }
        pump();
      }
      if (again) continue;
      if (request->done) request->done(result < 0 ? -result : 0);
      request.reset();
      finish_one();
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !slow_.empty(); });
      if (slow_.empty()) return;
      Request request = std::move(slow_.front());
      slow_.pop_front();
      lock.unlock();
      const int error = execute(*image_, request);
      if (request.done) request.done(error);
      request.done = nullptr;
      finish_one();
      lock.lock();
    }
  }

  void finish_one() {
    const std::lock_guard lock(mutex_);
    if (--in_flight_ == 0) quiet_.notify_all();
  }

  RawImage* image_;
  std::unique_ptr<Image> owner_;
  io_uring ring_{};  // submission side guarded by mutex_; completion side the reaper's
  bool started_ = false, helpers_ = false;
  std::shared_mutex gate_;  // shared: a read that is served at once; alone: a resize, the end
  std::mutex mutex_;        // guards what follows
  std::condition_variable wake_, quiet_;
  std::deque<Request> waiting_, slow_;
  u64 in_flight_ = 0;
  unsigned in_ring_ = 0;
  std::atomic<bool> closed_ = false;  // changes under the lock
  bool stop_ = false;
  std::jthread reaper_;
  std::vector<std::jthread> workers_;
};

}  // namespace

Result<std::unique_ptr<Disk>> uring_disk(std::unique_ptr<Image>& image) {
  auto disk = std::make_unique<UringDisk>(std::move(image));
  if (auto started = disk->start(); !started) {
    image = disk->give_back();
    return std::unexpected(std::move(started.error()));
  }
  return disk;
}

}  // namespace nagaya::block

// Persistent memory device: a file that is guest memory; requests only flush it. Source: VIRTIO 1.2, 5.19.
#pragma once
#include "host/fd.hpp"
#include "virtio/device.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

/// A file that may become persistent memory, opened and locked against a second writer.
struct PmemFile {
  host::Fd fd;
  u64 file_size = 0;
  u64 size = 0;  ///< of the memory: the file's, rounded up to whole 2 MiB when it is read-only
  bool read_only = false;

  /// A file that is written to is given all its blocks now: running out of space later would be a fault in the middle
  /// of a guest's instruction.
  static Result<PmemFile> open(const std::string& path, bool read_only);
  /// What Linux wants its persistent memory aligned to.
  static constexpr u64 alignment = 2 * MiB;
};

class Pmem final : public VirtioDevice {
 public:
  /// `file` is already part of `memory`, at `start`.
  Pmem(std::string name, memory::GuestMemory& memory, PmemFile file, Gpa start);
  ~Pmem() override;

 private:
  [[nodiscard]] u64 device_features() const override { return 0; }
  void read_config(u64 offset, std::span<u8> data) override;
  void start() override { worker_.go(); }
  void stop() override { worker_.halt(); }
  void kicked(unsigned) override { worker_.kick(0); }
  [[nodiscard]] int kick_event(unsigned) const override { return worker_.event(); }
  void save_state(state::Writer& out) const override;
  void restore_state(state::Reader& in) override;
  std::optional<u64> serve(const Chain& chain);

  const PmemFile file_;
  const Gpa start_;
  Chain chain_;
  Worker worker_;
};

}  // namespace nagaya::virtio

// Guest RAM and ROM. All RAM is one memfd, so that later other processes can map it; the map GPA→HVA is fixed after
// construction apart from `add`/`remove` while the machine is paused. Accesses from devices are copies (a racing guest
// cannot change what was checked), bounded, and never fault on a bad address: they return an error.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"
#include "host/mapping.hpp"

namespace nagaya::memory {

enum class RegionKind : u8 {
  ram,
  rom,   ///< ours, never written
  file,  ///< a file of the host's (persistent memory): not RAM to anybody
};

/// One run of guest-physical memory.
struct Region {
  Gpa gpa;
  u64 size = 0;
  Hva hva = nullptr;
  u64 file_offset = 0;
  bool readonly = false;
  RegionKind kind = RegionKind::ram;

  [[nodiscard]] bool is_ram() const { return kind == RegionKind::ram; }
};

class GuestMemory {
 public:
  /// RAM of `size` bytes laid out for a PC: [0, min(size, low_limit)) and the rest from 4 GiB up. Also reserves it lazily:
  /// no host memory is used before the guest touches it. The default limit is the PC's (x86/pc_layout.hpp).
  static Result<std::unique_ptr<GuestMemory>> create(u64 size, u64 low_limit = 0xb000'0000);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  /// Adds a ROM of `content.size()` rounded up to pages at `gpa` (must not overlap).
  Result<> add_rom(Gpa gpa, std::span<const u8> content);
  /// Adds a file as memory of `size` bytes at `gpa`, whole pages (must not overlap): its first `file_size` bytes are the
  /// file's, shared with everyone who maps it, what follows reads as zeros. Writable: file_size == size.
  Result<> add_file(Gpa gpa, int fd, u64 file_size, u64 size, bool writable);
  [[nodiscard]] std::span<const Region> regions() const { return regions_; }
  [[nodiscard]] u64 ram_size() const { return ram_size_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Host address of [gpa, gpa+size) when wholly inside one region (RAM only if `write`), else null. The bytes may change
  /// under the caller: copy before checking.
  [[nodiscard]] Hva host(Gpa gpa, u64 size, bool write = false) const;
  /// Copies; ranges may span regions. Errors name the address.
  Result<> read(Gpa gpa, std::span<u8> out) const;
  Result<> write(Gpa gpa, std::span<const u8> data);
  Result<> fill(Gpa gpa, u64 size, u8 value);
  /// Gives all RAM back to the host and makes it read as zeros; ROM stays. No vCPU may run.
  void zero_ram();
  /// Gives whole pages of RAM back to the host; they read as zeros until written again. Host addresses stay valid. Any
  /// thread, also while vCPUs run.
  Result<> give_back(Gpa gpa, u64 size);
  template <class T>
  Result<T> read_value(Gpa gpa) const {
    T value{};
    if (auto r = read(gpa, std::span(reinterpret_cast<u8*>(&value), sizeof value)); !r) return std::unexpected(r.error());
    return value;
  }
  template <class T>
  Result<> write_value(Gpa gpa, T value) {
    return write(gpa, std::span(reinterpret_cast<const u8*>(&value), sizeof value));
  }

  /// Called after each `write`/`fill` (the engine drops code translated from there, dirty logging records it).
  void on_write(std::function<void(Gpa, u64)> listener) { listener_ = std::move(listener); }
  /// For a device that wrote through host(): the same notification.
  void wrote(Gpa gpa, u64 size) const {
    if (listener_) listener_(gpa, size);
  }

 private:
  GuestMemory() = default;
  std::vector<Region> regions_;  // sorted by gpa
  [[nodiscard]] const Region* find(Gpa gpa) const;
  [[nodiscard]] Result<> check_free(Gpa gpa, u64 size, const char* what) const;
  void add(const Region& region, host::Mapping mapping);
  std::vector<host::Mapping> other_mappings_;  // of ROMs and files
  u64 ram_size_ = 0;
  host::Mapping mapping_;
  host::Fd fd_;
  std::function<void(Gpa, u64)> listener_;
};

}  // namespace nagaya::memory

// Arguments with flexible arrays. The headers of some Linux versions give these structures another size in C++ than in
// C, and with it other request numbers, so the few that we use are laid out here as the kernel has them.
#pragma once
#include <linux/kvm.h>

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace nagaya::engine::kvm {

/// A 32-bit count, padding to 8 bytes, and that many entries.
template <class Entry>
class CountedArray {
 public:
  explicit CountedArray(std::size_t entries) : bytes_(8 + entries * sizeof(Entry)) { set_count(entries); }
  explicit CountedArray(std::span<const Entry> entries) : CountedArray(entries.size()) {
    if (!entries.empty()) std::memcpy(bytes_.data() + 8, entries.data(), entries.size_bytes());
  }
  [[nodiscard]] u8* data() { return bytes_.data(); }
  /// As the kernel set it, never more than there is room for.
  [[nodiscard]] std::size_t count() const {
    u32 count;
    std::memcpy(&count, bytes_.data(), sizeof count);
    const std::size_t room = (bytes_.size() - 8) / sizeof(Entry);
    return count < room ? count : room;
  }
  [[nodiscard]] Entry entry(std::size_t i) const {
    Entry entry;
    std::memcpy(&entry, bytes_.data() + 8 + i * sizeof(Entry), sizeof entry);
    return entry;
  }

 private:
  void set_count(std::size_t entries) {
    const u32 count = static_cast<u32>(entries);
    std::memcpy(bytes_.data(), &count, sizeof count);
  }
  std::vector<u8> bytes_;
};

/// kvm_xsave without its flexible tail: the standard XSAVE image of everything but AMX.
using XsaveArea = std::array<u8, 4096>;

inline constexpr unsigned long get_supported_cpuid = _IOWR(KVMIO, 0x05, u64), set_cpuid2 = _IOW(KVMIO, 0x90, u64),
                               get_msrs_number = _IOWR(KVMIO, 0x88, u64), set_msrs_number = _IOW(KVMIO, 0x89, u64),
                               set_gsi_routing = _IOW(KVMIO, 0x6a, u64),
                               get_xsave = _IOR(KVMIO, 0xa4, XsaveArea), set_xsave = _IOW(KVMIO, 0xa5, XsaveArea),
                               get_xsave2 = _IOR(KVMIO, 0xcf, XsaveArea);

}  // namespace nagaya::engine::kvm

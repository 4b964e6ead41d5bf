#include "engine/kvm/msr_list.hpp"

#include <algorithm>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/ioctl.hpp"

namespace nagaya::engine::kvm {

Result<std::size_t> get_msrs(int fd, std::span<kvm_msr_entry> entries) {
  CountedArray<kvm_msr_entry> list{std::span<const kvm_msr_entry>(entries)};
  TRY_ASSIGN(const int got, request(fd, get_msrs_number, list.data(), "KVM_GET_MSRS"));
  const auto count = std::min(static_cast<std::size_t>(got), entries.size());
  for (std::size_t i = 0; i < count; ++i) entries[i] = list.entry(i);
  return count;
}

Result<std::size_t> set_msrs(int fd, std::span<const kvm_msr_entry> entries) {
  CountedArray<kvm_msr_entry> list(entries);
  TRY_ASSIGN(const int put, request(fd, set_msrs_number, list.data(), "KVM_SET_MSRS"));
  return std::min(static_cast<std::size_t>(put), entries.size());
}

}  // namespace nagaya::engine::kvm

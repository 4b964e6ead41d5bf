#include "host/mapping.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

namespace nagaya::host {

Result<Mapping> Mapping::shared(int fd, u64 offset, u64 size, int protection) {
  void* at = ::mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return fail_errno(fmt::format("cannot map {} bytes", size));
  return Mapping(static_cast<std::byte*>(at), size);
}

Result<Mapping> Mapping::padded(int fd, u64 file_size, u64 size, int protection) {
  TRY_ASSIGN(Mapping whole, anonymous(size, protection));
  if (file_size > size) return fail(fmt::format("cannot map {} bytes", size), "the file is larger");
  if (file_size != 0) {
    void* at = ::mmap(whole.data(), file_size, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) return fail_errno(fmt::format("cannot map {} bytes", file_size));
  }
  return whole;
}

Result<Mapping> Mapping::anonymous(u64 size, int protection) {
  void* at = ::mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return fail_errno(fmt::format("cannot map {} bytes", size));
  return Mapping(static_cast<std::byte*>(at), size);
}

void Mapping::advise(int advice) const {
  if (data_ != nullptr) (void)::madvise(data_, size_, advice);
}

Result<> Mapping::protect(u64 offset, u64 size, int protection) const {
  if (offset > size_ || size > size_ - offset) return fail("cannot protect memory", "outside the mapping");
  if (::mprotect(data_ + offset, size, protection) != 0) return fail_errno("cannot protect memory");
  return {};
}

void Mapping::reset() {
  if (data_ != nullptr) ::munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

}  // namespace nagaya::host

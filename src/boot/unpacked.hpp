// Memory for unpacked kernels: tens of MiB that a decoder fills once, so nobody clears them before, in large pages where the host
// gives them.
#pragma once
#include <sys/mman.h>

#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace nagaya::boot {

template <class T>
struct UnpackedAllocator {
  using value_type = T;
  UnpackedAllocator() = default;
  template <class U>
  explicit UnpackedAllocator(const UnpackedAllocator<U>&) {}

  T* allocate(std::size_t n) {
    if (n * sizeof(T) < large) return static_cast<T*>(::operator new(n * sizeof(T)));
    void* p = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    madvise(p, n * sizeof(T), MADV_HUGEPAGE);
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) {
    if (n * sizeof(T) < large) return ::operator delete(p);
    munmap(p, n * sizeof(T));
  }
  /// Leaves new bytes as they are.
  template <class U, class... A>
  void construct(U* p, A&&... args) {
    if constexpr (sizeof...(A) == 0) {
      ::new (static_cast<void*>(p)) U;
    } else {
      ::new (static_cast<void*>(p)) U(std::forward<A>(args)...);
    }
  }
  bool operator==(const UnpackedAllocator&) const = default;

 private:
  static constexpr std::size_t large = 4 * MiB;
};

using Unpacked = std::vector<u8, UnpackedAllocator<u8>>;

}  // namespace nagaya::boot
